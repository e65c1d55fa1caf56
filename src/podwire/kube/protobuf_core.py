"""Protobuf field numbers of core/v1 and meta/v1: facts of Kubernetes' generated.proto, one struct a line.

Grammar (``protobuf.py`` reads it): ``<number><mark><JSON name>[:<type>]``. Marks: ``*`` a list, ``?`` a field that may
be present and zero, ``%`` a map from strings, ``<`` a struct whose fields stand in its parent's JSON. ``@`` is
``1metadata:meta.ObjectMeta``. Types: none is a string, ``b`` bool, ``i`` integer, ``d`` double, ``y`` bytes, ``Q``
Quantity, ``I`` IntOrString, ``T`` Time, ``M`` MicroTime, ``R`` RawExtension, ``F`` FieldsV1, ``E`` a list of strings
in a struct of its own; else a struct, of this package or of the one named before the dot.

Spec: k8s.io/api and k8s.io/apimachinery, generated.proto (numbers) and types.go (JSON names, pointers).
"""

from collections.abc import Mapping
from types import MappingProxyType

STRUCTS: Mapping[str, str] = MappingProxyType(
    {
        "core": """
AWSElasticBlockStoreVolumeSource: 1volumeID 2fsType 3partition:i 4readOnly:b
Affinity: 1?nodeAffinity:NodeAffinity 2?podAffinity:PodAffinity 3?podAntiAffinity:PodAntiAffinity
AppArmorProfile: 1type 2?localhostProfile
AttachedVolume: 1name 2devicePath
AzureDiskVolumeSource: 1diskName 2diskURI 3?cachingMode 4?fsType 5?readOnly:b 6?kind
AzureFilePersistentVolumeSource: 1secretName 2shareName 3readOnly:b 4?secretNamespace
AzureFileVolumeSource: 1secretName 2shareName 3readOnly:b
Binding: @ 2target:ObjectReference
CSIPersistentVolumeSource: 1driver 2volumeHandle 3readOnly:b 4fsType 5%volumeAttributes
    6?controllerPublishSecretRef:SecretReference 7?nodeStageSecretRef:SecretReference
    8?nodePublishSecretRef:SecretReference 9?controllerExpandSecretRef:SecretReference
    10?nodeExpandSecretRef:SecretReference
CSIVolumeSource: 1driver 2?readOnly:b 3?fsType 4%volumeAttributes 5?nodePublishSecretRef:LocalObjectReference
Capabilities: 1*add 2*drop
CephFSPersistentVolumeSource: 1*monitors 2path 3user 4secretFile 5?secretRef:SecretReference 6readOnly:b
CephFSVolumeSource: 1*monitors 2path 3user 4secretFile 5?secretRef:LocalObjectReference 6readOnly:b
CinderPersistentVolumeSource: 1volumeID 2fsType 3readOnly:b 4?secretRef:SecretReference
CinderVolumeSource: 1volumeID 2fsType 3readOnly:b 4?secretRef:LocalObjectReference
ClientIPConfig: 1?timeoutSeconds:i
ClusterTrustBundleProjection: 1?name 2?signerName 3?labelSelector:meta.LabelSelector 5?optional:b 4path 6?user:i
ConfigMap: @ 4?immutable:b 2%data 3%binaryData:y
ConfigMapEnvSource: 1<LocalObjectReference 2?optional:b
ConfigMapKeySelector: 1<LocalObjectReference 2key 3?optional:b
ConfigMapNodeConfigSource: 1namespace 2name 3uid 4resourceVersion 5kubeletConfigKey
ConfigMapProjection: 1<LocalObjectReference 2*items:KeyToPath 4?optional:b
ConfigMapVolumeSource: 1<LocalObjectReference 2*items:KeyToPath 3?defaultMode:i 4?optional:b 5?defaultUser:i
Container: 1name 2image 3*command 4*args 5workingDir 6*ports:ContainerPort 19*envFrom:EnvFromSource 7*env:EnvVar
    8resources:ResourceRequirements 23*resizePolicy:ContainerResizePolicy 24?restartPolicy
    25*restartPolicyRules:ContainerRestartRule 9*volumeMounts:VolumeMount 21*volumeDevices:VolumeDevice
    10?livenessProbe:Probe 11?readinessProbe:Probe 22?startupProbe:Probe 12?lifecycle:Lifecycle
    13terminationMessagePath 20terminationMessagePolicy 14imagePullPolicy 15?securityContext:SecurityContext 16stdin:b
    17stdinOnce:b 18tty:b
ContainerExtendedResourceRequest: 1containerName 2resourceName 3requestName
ContainerImage: 1*names 2sizeBytes:i
ContainerPort: 1name 2hostPort:i 3containerPort:i 4protocol 5hostIP
ContainerResizePolicy: 1resourceName 2restartPolicy
ContainerRestartRule: 1action 2?exitCodes:ContainerRestartRuleOnExitCodes
ContainerRestartRuleOnExitCodes: 1operator 2*values:i
ContainerState: 1?waiting:ContainerStateWaiting 2?running:ContainerStateRunning 3?terminated:ContainerStateTerminated
ContainerStateRunning: 1startedAt:T
ContainerStateTerminated: 1exitCode:i 2signal:i 3reason 4message 5startedAt:T 6finishedAt:T 7containerID
ContainerStateWaiting: 1reason 2message
ContainerStatus: 1name 2state:ContainerState 3lastState:ContainerState 4ready:b 5restartCount:i 6image 7imageID
    8containerID 9?started:b 10%allocatedResources:Q 11?resources:ResourceRequirements
    12*volumeMounts:VolumeMountStatus 13?user:ContainerUser 14*allocatedResourcesStatus:ResourceStatus 15?stopSignal
ContainerUser: 1?linux:LinuxContainerUser
DaemonEndpoint: 1Port:i
DownwardAPIProjection: 1*items:DownwardAPIVolumeFile
DownwardAPIVolumeFile: 1path 2?fieldRef:ObjectFieldSelector 3?resourceFieldRef:ResourceFieldSelector 4?mode:i 5?user:i
DownwardAPIVolumeSource: 1*items:DownwardAPIVolumeFile 2?defaultMode:i 3?defaultUser:i
EmptyDirVolumeSource: 1medium 2?sizeLimit:Q 3?mode:i
EndpointAddress: 1ip 3hostname 4?nodeName 2?targetRef:ObjectReference
EndpointPort: 1name 2port:i 3protocol 4?appProtocol
EndpointSubset: 1*addresses:EndpointAddress 2*notReadyAddresses:EndpointAddress 3*ports:EndpointPort
Endpoints: @ 2*subsets:EndpointSubset
EnvFromSource: 1prefix 2?configMapRef:ConfigMapEnvSource 3?secretRef:SecretEnvSource
EnvVar: 1name 2value 3?valueFrom:EnvVarSource
EnvVarSource: 1?fieldRef:ObjectFieldSelector 2?resourceFieldRef:ResourceFieldSelector
    3?configMapKeyRef:ConfigMapKeySelector 4?secretKeyRef:SecretKeySelector 5?fileKeyRef:FileKeySelector
EphemeralContainer: 1<EphemeralContainerCommon 2targetContainerName
EphemeralContainerCommon: 1name 2image 3*command 4*args 5workingDir 6*ports:ContainerPort 19*envFrom:EnvFromSource
    7*env:EnvVar 8resources:ResourceRequirements 23*resizePolicy:ContainerResizePolicy 24?restartPolicy
    25*restartPolicyRules:ContainerRestartRule 9*volumeMounts:VolumeMount 21*volumeDevices:VolumeDevice
    10?livenessProbe:Probe 11?readinessProbe:Probe 22?startupProbe:Probe 12?lifecycle:Lifecycle
    13terminationMessagePath 20terminationMessagePolicy 14imagePullPolicy 15?securityContext:SecurityContext 16stdin:b
    17stdinOnce:b 18tty:b
EphemeralVolumeSource: 1?volumeClaimTemplate:PersistentVolumeClaimTemplate
Event: @ 2involvedObject:ObjectReference 3reason 4message 5source:EventSource 6firstTimestamp:T 7lastTimestamp:T
    8count:i 9type 10eventTime:M 11?series:EventSeries 12action 13?related:ObjectReference 14reportingComponent
    15reportingInstance
EventSeries: 1count:i 2lastObservedTime:M
EventSource: 1component 2host
EvictionResponder: 1name 2?priority:i
ExecAction: 1*command
FCVolumeSource: 1*targetWWNs 2?lun:i 3fsType 4readOnly:b 5*wwids
FileKeySelector: 1volumeName 2path 3key 4?optional:b
FlexPersistentVolumeSource: 1driver 2fsType 3?secretRef:SecretReference 4readOnly:b 5%options
FlexVolumeSource: 1driver 2fsType 3?secretRef:LocalObjectReference 4readOnly:b 5%options
FlockerVolumeSource: 1datasetName 2datasetUUID
GCEPersistentDiskVolumeSource: 1pdName 2fsType 3partition:i 4readOnly:b
GRPCAction: 1port:i 2?service 3?mode
GitRepoVolumeSource: 1repository 2revision 3directory
GlusterfsPersistentVolumeSource: 1endpoints 2path 3readOnly:b 4?endpointsNamespace
GlusterfsVolumeSource: 1endpoints 2path 3readOnly:b
HTTPGetAction: 1path 2port:I 3host 4scheme 5*httpHeaders:HTTPHeader 6?protocol
HTTPHeader: 1name 2value
HostAlias: 1ip 2*hostnames
HostIP: 1ip
HostPathVolumeSource: 1path 2?type
ISCSIPersistentVolumeSource: 1targetPortal 2iqn 3lun:i 4iscsiInterface 5fsType 6readOnly:b 7*portals
    8chapAuthDiscovery:b 11chapAuthSession:b 10?secretRef:SecretReference 12?initiatorName
ISCSIVolumeSource: 1targetPortal 2iqn 3lun:i 4iscsiInterface 5fsType 6readOnly:b 7*portals 8chapAuthDiscovery:b
    11chapAuthSession:b 10?secretRef:LocalObjectReference 12?initiatorName
ImageVolumeSource: 1reference 2pullPolicy
ImageVolumeStatus: 1imageRef
KeyToPath: 1key 2path 3?mode:i 4?user:i
Lifecycle: 1?postStart:LifecycleHandler 2?preStop:LifecycleHandler 3?stopSignal
LifecycleHandler: 1?exec:ExecAction 2?httpGet:HTTPGetAction 3?tcpSocket:TCPSocketAction 4?sleep:SleepAction
LimitRange: @ 2spec:LimitRangeSpec
LimitRangeItem: 1type 2%max:Q 3%min:Q 4%default:Q 5%defaultRequest:Q 6%maxLimitRequestRatio:Q
LimitRangeSpec: 1*limits:LimitRangeItem
LinuxContainerUser: 1uid:i 2gid:i 3*supplementalGroups:i
LoadBalancerIngress: 1ip 2hostname 3?ipMode 4*ports:PortStatus
LoadBalancerStatus: 1*ingress:LoadBalancerIngress
LocalObjectReference: 1name
LocalVolumeSource: 1path 2?fsType
ModifyVolumeStatus: 1targetVolumeAttributesClassName 2status
NFSVolumeSource: 1server 2path 3readOnly:b
Namespace: @ 2spec:NamespaceSpec 3status:NamespaceStatus
NamespaceCondition: 1type 2status 4lastTransitionTime:T 5reason 6message
NamespaceSpec: 1*finalizers
NamespaceStatus: 1phase 2*conditions:NamespaceCondition
Node: @ 2spec:NodeSpec 3status:NodeStatus
NodeAddress: 1type 2address
NodeAffinity: 1?requiredDuringSchedulingIgnoredDuringExecution:NodeSelector
    2*preferredDuringSchedulingIgnoredDuringExecution:PreferredSchedulingTerm
NodeAllocatableMappedResources: 1name 2?quantity:Q
NodeAllocatableOverheadResources: 1name 2?perPod:Q 3?perContainer:Q
NodeAllocatableResourceClaimStatus: 1resourceClaimName 2*containers 4*mapping:NodeAllocatableMappedResources
    5*overhead:NodeAllocatableOverheadResources
NodeCondition: 1type 2status 3lastHeartbeatTime:T 4lastTransitionTime:T 5reason 6message
NodeConfigSource: 2?configMap:ConfigMapNodeConfigSource
NodeConfigStatus: 1?assigned:NodeConfigSource 2?active:NodeConfigSource 3?lastKnownGood:NodeConfigSource 4error
NodeDaemonEndpoints: 1kubeletEndpoint:DaemonEndpoint
NodeFeatures: 1?supplementalGroupsPolicy:b
NodePodPreemptionPolicy: 1*disableResizePreemption
NodeRuntimeHandler: 1name 2?features:NodeRuntimeHandlerFeatures
NodeRuntimeHandlerFeatures: 1?recursiveReadOnlyMounts:b 2?userNamespaces:b
NodeSelector: 1*nodeSelectorTerms:NodeSelectorTerm
NodeSelectorRequirement: 1key 2operator 3*values
NodeSelectorTerm: 1*matchExpressions:NodeSelectorRequirement 2*matchFields:NodeSelectorRequirement
NodeSpec: 1podCIDR 7*podCIDRs 3providerID 4unschedulable:b 5*taints:Taint 6?configSource:NodeConfigSource 2externalID
    8?podPreemptionPolicy:NodePodPreemptionPolicy
NodeStatus: 1%capacity:Q 2%allocatable:Q 3phase 4*conditions:NodeCondition 5*addresses:NodeAddress
    6daemonEndpoints:NodeDaemonEndpoints 7nodeInfo:NodeSystemInfo 8*images:ContainerImage 9*volumesInUse
    10*volumesAttached:AttachedVolume 11?config:NodeConfigStatus 12*runtimeHandlers:NodeRuntimeHandler
    13?features:NodeFeatures 14*declaredFeatures
NodeSwapStatus: 1?capacity:i
NodeSystemInfo: 1machineID 2systemUUID 3bootID 4kernelVersion 5osImage 6containerRuntimeVersion 7kubeletVersion
    8kubeProxyVersion 9operatingSystem 10architecture 11?swap:NodeSwapStatus
ObjectFieldSelector: 1apiVersion 2fieldPath
ObjectReference: 1kind 2namespace 3name 4uid 5apiVersion 6resourceVersion 7fieldPath
PersistentVolume: @ 2spec:PersistentVolumeSpec 3status:PersistentVolumeStatus
PersistentVolumeClaim: @ 2spec:PersistentVolumeClaimSpec 3status:PersistentVolumeClaimStatus
PersistentVolumeClaimCondition: 1type 2status 3lastProbeTime:T 4lastTransitionTime:T 5reason 6message
PersistentVolumeClaimSpec: 1*accessModes 4?selector:meta.LabelSelector 2resources:VolumeResourceRequirements
    3volumeName 5?storageClassName 6?volumeMode 7?dataSource:TypedLocalObjectReference
    8?dataSourceRef:TypedObjectReference 9?volumeAttributesClassName
PersistentVolumeClaimStatus: 1phase 2*accessModes 3%capacity:Q 4*conditions:PersistentVolumeClaimCondition
    5%allocatedResources:Q 7%allocatedResourceStatuses 8?currentVolumeAttributesClassName
    9?modifyVolumeStatus:ModifyVolumeStatus 10?healthStatus:VolumeHealthStatus
PersistentVolumeClaimTemplate: @ 2spec:PersistentVolumeClaimSpec
PersistentVolumeClaimVolumeSource: 1claimName 2readOnly:b
PersistentVolumeSource: 1?gcePersistentDisk:GCEPersistentDiskVolumeSource
    2?awsElasticBlockStore:AWSElasticBlockStoreVolumeSource 3?hostPath:HostPathVolumeSource
    4?glusterfs:GlusterfsPersistentVolumeSource 5?nfs:NFSVolumeSource 6?rbd:RBDPersistentVolumeSource
    7?iscsi:ISCSIPersistentVolumeSource 8?cinder:CinderPersistentVolumeSource 9?cephfs:CephFSPersistentVolumeSource
    10?fc:FCVolumeSource 11?flocker:FlockerVolumeSource 12?flexVolume:FlexPersistentVolumeSource
    13?azureFile:AzureFilePersistentVolumeSource 14?vsphereVolume:VsphereVirtualDiskVolumeSource
    15?quobyte:QuobyteVolumeSource 16?azureDisk:AzureDiskVolumeSource
    17?photonPersistentDisk:PhotonPersistentDiskVolumeSource 18?portworxVolume:PortworxVolumeSource
    19?scaleIO:ScaleIOPersistentVolumeSource 20?local:LocalVolumeSource 21?storageos:StorageOSPersistentVolumeSource
    22?csi:CSIPersistentVolumeSource
PersistentVolumeSpec: 1%capacity:Q 2<PersistentVolumeSource 3*accessModes 4?claimRef:ObjectReference
    5persistentVolumeReclaimPolicy 6storageClassName 7*mountOptions 8?volumeMode 9?nodeAffinity:VolumeNodeAffinity
    10?volumeAttributesClassName
PersistentVolumeStatus: 1phase 2message 3reason 4?lastPhaseTransitionTime:T
PhotonPersistentDiskVolumeSource: 1pdID 2fsType
Pod: @ 2spec:PodSpec 3status:PodStatus
PodAffinity: 1*requiredDuringSchedulingIgnoredDuringExecution:PodAffinityTerm
    2*preferredDuringSchedulingIgnoredDuringExecution:WeightedPodAffinityTerm
PodAffinityTerm: 1?labelSelector:meta.LabelSelector 2*namespaces 3topologyKey 4?namespaceSelector:meta.LabelSelector
    5*matchLabelKeys 6*mismatchLabelKeys
PodAntiAffinity: 1*requiredDuringSchedulingIgnoredDuringExecution:PodAffinityTerm
    2*preferredDuringSchedulingIgnoredDuringExecution:WeightedPodAffinityTerm
PodCertificateProjection: 1signerName 2keyType 3?maxExpirationSeconds:i 4credentialBundlePath 5keyPath
    6certificateChainPath 7%userAnnotations 8?user:i
PodCondition: 1type 7observedGeneration:i 2status 3lastProbeTime:T 4lastTransitionTime:T 5reason 6message
PodDNSConfig: 1*nameservers 2*searches 3*options:PodDNSConfigOption
PodDNSConfigOption: 1name 2?value
PodExtendedResourceClaimStatus: 1*requestMappings:ContainerExtendedResourceRequest 2resourceClaimName
PodIP: 1ip
PodOS: 1name
PodReadinessGate: 1conditionType
PodResourceClaim: 1name 3?resourceClaimName 4?resourceClaimTemplateName
PodResourceClaimStatus: 1name 2?resourceClaimName
PodSchedulingGate: 1name
PodSchedulingGroup: 1?podGroupName
PodSecurityContext: 1?seLinuxOptions:SELinuxOptions 8?windowsOptions:WindowsSecurityContextOptions 2?runAsUser:i
    6?runAsGroup:i 3?runAsNonRoot:b 4*supplementalGroups:i 12?supplementalGroupsPolicy 5?fsGroup:i 7*sysctls:Sysctl
    9?fsGroupChangePolicy 10?seccompProfile:SeccompProfile 11?appArmorProfile:AppArmorProfile 13?seLinuxChangePolicy
PodSpec: 1*volumes:Volume 20*initContainers:Container 2*containers:Container 34*ephemeralContainers:EphemeralContainer
    3restartPolicy 4?terminationGracePeriodSeconds:i 5?activeDeadlineSeconds:i 6dnsPolicy 7%nodeSelector
    8serviceAccountName 9serviceAccount 21?automountServiceAccountToken:b 10nodeName 11hostNetwork:b 12hostPID:b
    13hostIPC:b 27?shareProcessNamespace:b 14?securityContext:PodSecurityContext
    15*imagePullSecrets:LocalObjectReference 16hostname 17subdomain 18?affinity:Affinity 19schedulerName
    22*tolerations:Toleration 23*hostAliases:HostAlias 24priorityClassName 25?priority:i 26?dnsConfig:PodDNSConfig
    28*readinessGates:PodReadinessGate 29?runtimeClassName 30?enableServiceLinks:b 31?preemptionPolicy 32%overhead:Q
    33*topologySpreadConstraints:TopologySpreadConstraint 35?setHostnameAsFQDN:b 36?os:PodOS 37?hostUsers:b
    38*schedulingGates:PodSchedulingGate 39*resourceClaims:PodResourceClaim 40?resources:ResourceRequirements
    41?hostnameOverride 43?schedulingGroup:PodSchedulingGroup 44*evictionResponders:EvictionResponder
PodStatus: 17observedGeneration:i 1phase 2*conditions:PodCondition 3message 4reason 11nominatedNodeName 5hostIP
    16*hostIPs:HostIP 6podIP 12*podIPs:PodIP 7?startTime:T 10*initContainerStatuses:ContainerStatus
    8*containerStatuses:ContainerStatus 9qosClass 13*ephemeralContainerStatuses:ContainerStatus 14resize
    15*resourceClaimStatuses:PodResourceClaimStatus 18?extendedResourceClaimStatus:PodExtendedResourceClaimStatus
    19%allocatedResources:Q 20?resources:ResourceRequirements
    21*nodeAllocatableResourceClaimStatuses:NodeAllocatableResourceClaimStatus 22*volumeHealth:PodVolumeHealth
PodTemplateSpec: @ 2spec:PodSpec
PodVolumeHealth: 1name 2*healthConditions:VolumeHealthCondition 3lastTransitionTime:T
PortStatus: 1port:i 2protocol 3?error
PortworxVolumeSource: 1volumeID 2fsType 3readOnly:b
PreferredSchedulingTerm: 1weight:i 2preference:NodeSelectorTerm
Probe: 1<ProbeHandler 2initialDelaySeconds:i 3timeoutSeconds:i 4periodSeconds:i 5successThreshold:i
    6failureThreshold:i 7?terminationGracePeriodSeconds:i
ProbeHandler: 1?exec:ExecAction 2?httpGet:HTTPGetAction 3?tcpSocket:TCPSocketAction 4?grpc:GRPCAction
ProjectedVolumeSource: 1*sources:VolumeProjection 2?defaultMode:i 3?defaultUser:i
QuobyteVolumeSource: 1registry 2volume 3readOnly:b 4user 5group 6tenant
RBDPersistentVolumeSource: 1*monitors 2image 3fsType 4pool 5user 6keyring 7?secretRef:SecretReference 8readOnly:b
RBDVolumeSource: 1*monitors 2image 3fsType 4pool 5user 6keyring 7?secretRef:LocalObjectReference 8readOnly:b
ResourceClaim: 1name 2request
ResourceFieldSelector: 1containerName 2resource 3divisor:Q
ResourceHealth: 1resourceID 2health 6?message
ResourceQuota: @ 2spec:ResourceQuotaSpec 3status:ResourceQuotaStatus
ResourceQuotaSpec: 1%hard:Q 2*scopes 3?scopeSelector:ScopeSelector
ResourceQuotaStatus: 1%hard:Q 2%used:Q
ResourceRequirements: 1%limits:Q 2%requests:Q 3*claims:ResourceClaim
ResourceStatus: 1name 2*resources:ResourceHealth
SELinuxOptions: 1user 2role 3type 4level
ScaleIOPersistentVolumeSource: 1gateway 2system 3?secretRef:SecretReference 4sslEnabled:b 5protectionDomain
    6storagePool 7storageMode 8volumeName 9fsType 10readOnly:b
ScaleIOVolumeSource: 1gateway 2system 3?secretRef:LocalObjectReference 4sslEnabled:b 5protectionDomain 6storagePool
    7storageMode 8volumeName 9fsType 10readOnly:b
ScopeSelector: 1*matchExpressions:ScopedResourceSelectorRequirement
ScopedResourceSelectorRequirement: 1scopeName 2operator 3*values
SeccompProfile: 1type 2?localhostProfile
Secret: @ 5?immutable:b 2%data:y 4%stringData 3type
SecretEnvSource: 1<LocalObjectReference 2?optional:b
SecretKeySelector: 1<LocalObjectReference 2key 3?optional:b
SecretProjection: 1<LocalObjectReference 2*items:KeyToPath 4?optional:b
SecretReference: 1name 2namespace
SecretVolumeSource: 1secretName 2*items:KeyToPath 3?defaultMode:i 4?optional:b 5?defaultUser:i
SecurityContext: 1?capabilities:Capabilities 2?privileged:b 3?seLinuxOptions:SELinuxOptions
    10?windowsOptions:WindowsSecurityContextOptions 4?runAsUser:i 8?runAsGroup:i 5?runAsNonRoot:b
    6?readOnlyRootFilesystem:b 7?allowPrivilegeEscalation:b 9?procMount 11?seccompProfile:SeccompProfile
    12?appArmorProfile:AppArmorProfile
Service: @ 2spec:ServiceSpec 3status:ServiceStatus
ServiceAccount: @ 2*secrets:ObjectReference 3*imagePullSecrets:LocalObjectReference 4?automountServiceAccountToken:b
ServiceAccountTokenProjection: 1audience 2?expirationSeconds:i 3path 4?user:i
ServicePort: 1name 2protocol 6?appProtocol 3port:i 4targetPort:I 5nodePort:i
ServiceSpec: 1*ports:ServicePort 2%selector 3clusterIP 18*clusterIPs 4type 5*externalIPs 7sessionAffinity
    8loadBalancerIP 9*loadBalancerSourceRanges 10externalName 11externalTrafficPolicy 12healthCheckNodePort:i
    13publishNotReadyAddresses:b 14?sessionAffinityConfig:SessionAffinityConfig 19*ipFamilies 17?ipFamilyPolicy
    20?allocateLoadBalancerNodePorts:b 21?loadBalancerClass 22?internalTrafficPolicy 23?trafficDistribution
ServiceStatus: 1loadBalancer:LoadBalancerStatus 2*conditions:meta.Condition
SessionAffinityConfig: 1?clientIP:ClientIPConfig
SleepAction: 1seconds:i
StorageOSPersistentVolumeSource: 1volumeName 2volumeNamespace 3fsType 4readOnly:b 5?secretRef:ObjectReference
StorageOSVolumeSource: 1volumeName 2volumeNamespace 3fsType 4readOnly:b 5?secretRef:LocalObjectReference
Sysctl: 1name 2value
TCPSocketAction: 1port:I 2host
Taint: 1key 2value 3effect 4?timeAdded:T
Toleration: 1key 2operator 3value 4effect 5?tolerationSeconds:i
TopologySelectorLabelRequirement: 1key 2*values
TopologySelectorTerm: 1*matchLabelExpressions:TopologySelectorLabelRequirement
TopologySpreadConstraint: 1maxSkew:i 2topologyKey 3whenUnsatisfiable 4?labelSelector:meta.LabelSelector 5?minDomains:i
    6?nodeAffinityPolicy 7?nodeTaintsPolicy 8*matchLabelKeys
TypedLocalObjectReference: 1?apiGroup 2kind 3name
TypedObjectReference: 1?apiGroup 2kind 3name 4?namespace
Volume: 1name 2<VolumeSource
VolumeDevice: 1name 2devicePath
VolumeHealthCondition: 1status 2reason 3message
VolumeHealthStatus: 1*healthConditions:VolumeHealthCondition 2lastTransitionTime:T
VolumeMount: 1name 2readOnly:b 7?recursiveReadOnly 3mountPath 4subPath 5?mountPropagation 6subPathExpr
    8*bindMountOptions
VolumeMountStatus: 1name 2mountPath 3readOnly:b 4?recursiveReadOnly 5?volumeStatus:VolumeStatus
VolumeNodeAffinity: 1?required:NodeSelector
VolumeProjection: 1?secret:SecretProjection 2?downwardAPI:DownwardAPIProjection 3?configMap:ConfigMapProjection
    4?serviceAccountToken:ServiceAccountTokenProjection 5?clusterTrustBundle:ClusterTrustBundleProjection
    6?podCertificate:PodCertificateProjection
VolumeResourceRequirements: 1%limits:Q 2%requests:Q
VolumeSource: 1?hostPath:HostPathVolumeSource 2?emptyDir:EmptyDirVolumeSource
    3?gcePersistentDisk:GCEPersistentDiskVolumeSource 4?awsElasticBlockStore:AWSElasticBlockStoreVolumeSource
    5?gitRepo:GitRepoVolumeSource 6?secret:SecretVolumeSource 7?nfs:NFSVolumeSource 8?iscsi:ISCSIVolumeSource
    9?glusterfs:GlusterfsVolumeSource 10?persistentVolumeClaim:PersistentVolumeClaimVolumeSource
    11?rbd:RBDVolumeSource 12?flexVolume:FlexVolumeSource 13?cinder:CinderVolumeSource 14?cephfs:CephFSVolumeSource
    15?flocker:FlockerVolumeSource 16?downwardAPI:DownwardAPIVolumeSource 17?fc:FCVolumeSource
    18?azureFile:AzureFileVolumeSource 19?configMap:ConfigMapVolumeSource
    20?vsphereVolume:VsphereVirtualDiskVolumeSource 21?quobyte:QuobyteVolumeSource 22?azureDisk:AzureDiskVolumeSource
    23?photonPersistentDisk:PhotonPersistentDiskVolumeSource 26?projected:ProjectedVolumeSource
    24?portworxVolume:PortworxVolumeSource 25?scaleIO:ScaleIOVolumeSource 27?storageos:StorageOSVolumeSource
    28?csi:CSIVolumeSource 29?ephemeral:EphemeralVolumeSource 30?image:ImageVolumeSource
VolumeStatus: 1?image:ImageVolumeStatus
VsphereVirtualDiskVolumeSource: 1volumePath 2fsType 3storagePolicyName 4storagePolicyID
WeightedPodAffinityTerm: 1weight:i 2podAffinityTerm:PodAffinityTerm
WindowsSecurityContextOptions: 1?gmsaCredentialSpecName 2?gmsaCredentialSpec 3?runAsUserName 4?hostProcess:b
""",
        "meta": """
Condition: 1type 2status 3observedGeneration:i 4lastTransitionTime:T 5reason 6message
DeleteOptions: 1?gracePeriodSeconds:i 2?preconditions:Preconditions 3?orphanDependents:b 4?propagationPolicy 5*dryRun
    6?ignoreStoreReadErrorWithClusterBreakingPotential:b
FieldSelectorRequirement: 1key 2operator 3*values
LabelSelector: 1%matchLabels 2*matchExpressions:LabelSelectorRequirement
LabelSelectorRequirement: 1key 2operator 3*values
ManagedFieldsEntry: 1manager 2operation 3apiVersion 4?time:T 6fieldsType 7?fieldsV1:F 8subresource
ObjectMeta: 1name 2generateName 3namespace 4selfLink 5uid 6resourceVersion 7generation:i 8creationTimestamp:T
    9?deletionTimestamp:T 10?deletionGracePeriodSeconds:i 11%labels 12%annotations 13*ownerReferences:OwnerReference
    14*finalizers 17*managedFields:ManagedFieldsEntry
OwnerReference: 5apiVersion 1kind 3name 4uid 6?controller:b 7?blockOwnerDeletion:b
Preconditions: 1?uid 2?resourceVersion
""",
    }
)
"""Structs of a package, by package."""
