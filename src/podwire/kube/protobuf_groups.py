"""Protobuf field numbers of the named groups: facts of Kubernetes' generated.proto, one struct a line.

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
        "apps": """
ControllerRevision: @ 2data:R 3revision:i
DaemonSet: @ 2spec:DaemonSetSpec 3status:DaemonSetStatus
DaemonSetCondition: 1type 2status 3lastTransitionTime:T 4reason 5message
DaemonSetSpec: 1?selector:meta.LabelSelector 2template:core.PodTemplateSpec 3updateStrategy:DaemonSetUpdateStrategy
    4minReadySeconds:i 6?revisionHistoryLimit:i
DaemonSetStatus: 1currentNumberScheduled:i 2numberMisscheduled:i 3desiredNumberScheduled:i 4numberReady:i
    5observedGeneration:i 6updatedNumberScheduled:i 7numberAvailable:i 8numberUnavailable:i 9?collisionCount:i
    10*conditions:DaemonSetCondition
DaemonSetUpdateStrategy: 1type 2?rollingUpdate:RollingUpdateDaemonSet
Deployment: @ 2spec:DeploymentSpec 3status:DeploymentStatus
DeploymentCondition: 1type 2status 6lastUpdateTime:T 7lastTransitionTime:T 4reason 5message
DeploymentSpec: 1?replicas:i 2?selector:meta.LabelSelector 3template:core.PodTemplateSpec 4strategy:DeploymentStrategy
    5minReadySeconds:i 6?revisionHistoryLimit:i 7paused:b 9?progressDeadlineSeconds:i
DeploymentStatus: 1observedGeneration:i 2replicas:i 3updatedReplicas:i 7readyReplicas:i 4availableReplicas:i
    5unavailableReplicas:i 9?terminatingReplicas:i 6*conditions:DeploymentCondition 8?collisionCount:i
DeploymentStrategy: 1type 2?rollingUpdate:RollingUpdateDeployment
ReplicaSet: @ 2spec:ReplicaSetSpec 3status:ReplicaSetStatus
ReplicaSetCondition: 1type 2status 3lastTransitionTime:T 4reason 5message
ReplicaSetSpec: 1?replicas:i 4minReadySeconds:i 2?selector:meta.LabelSelector 3template:core.PodTemplateSpec
ReplicaSetStatus: 1replicas:i 2fullyLabeledReplicas:i 4readyReplicas:i 5availableReplicas:i 7?terminatingReplicas:i
    3observedGeneration:i 6*conditions:ReplicaSetCondition
RollingUpdateDaemonSet: 1?maxUnavailable:I 2?maxSurge:I
RollingUpdateDeployment: 1?maxUnavailable:I 2?maxSurge:I
RollingUpdateStatefulSetStrategy: 1?partition:i 2?maxUnavailable:I
StatefulSet: @ 2spec:StatefulSetSpec 3status:StatefulSetStatus
StatefulSetCondition: 1type 2status 3lastTransitionTime:T 4reason 5message
StatefulSetOrdinals: 1start:i
StatefulSetPersistentVolumeClaimRetentionPolicy: 1whenDeleted 2whenScaled
StatefulSetSpec: 1?replicas:i 2?selector:meta.LabelSelector 3template:core.PodTemplateSpec
    4*volumeClaimTemplates:core.PersistentVolumeClaim 5serviceName 6podManagementPolicy
    7updateStrategy:StatefulSetUpdateStrategy 8?revisionHistoryLimit:i 9minReadySeconds:i
    10?persistentVolumeClaimRetentionPolicy:StatefulSetPersistentVolumeClaimRetentionPolicy
    11?ordinals:StatefulSetOrdinals
StatefulSetStatus: 1observedGeneration:i 2replicas:i 3readyReplicas:i 4currentReplicas:i 5updatedReplicas:i
    6currentRevision 7updateRevision 9?collisionCount:i 10*conditions:StatefulSetCondition 11availableReplicas:i
StatefulSetUpdateStrategy: 1type 2?rollingUpdate:RollingUpdateStatefulSetStrategy
""",
        "batch": """
CronJob: @ 2spec:CronJobSpec 3status:CronJobStatus
CronJobSpec: 1schedule 8?timeZone 2?startingDeadlineSeconds:i 3concurrencyPolicy 4?suspend:b
    5jobTemplate:JobTemplateSpec 6?successfulJobsHistoryLimit:i 7?failedJobsHistoryLimit:i
CronJobStatus: 1*active:core.ObjectReference 4?lastScheduleTime:T 5?lastSuccessfulTime:T
Job: @ 2spec:JobSpec 3status:JobStatus
JobCondition: 1type 2status 3lastProbeTime:T 4lastTransitionTime:T 5reason 6message
JobSchedulingConfiguration:
JobSpec: 1?parallelism:i 2?completions:i 3?activeDeadlineSeconds:i 11?podFailurePolicy:PodFailurePolicy
    16?successPolicy:SuccessPolicy 7?backoffLimit:i 12?backoffLimitPerIndex:i 13?maxFailedIndexes:i
    4?selector:meta.LabelSelector 5?manualSelector:b 6template:core.PodTemplateSpec 8?ttlSecondsAfterFinished:i
    9?completionMode 10?suspend:b 14?podReplacementPolicy 15?managedBy 17?scheduling:JobSchedulingConfiguration
JobStatus: 1*conditions:JobCondition 2?startTime:T 3?completionTime:T 4active:i 5succeeded:i 6failed:i
    11?terminating:i 7completedIndexes 10?failedIndexes 8?uncountedTerminatedPods:UncountedTerminatedPods 9?ready:i
JobTemplateSpec: @ 2spec:JobSpec
PodFailurePolicy: 1*rules:PodFailurePolicyRule
PodFailurePolicyOnExitCodesRequirement: 1?containerName 2operator 3*values:i
PodFailurePolicyOnPodConditionsPattern: 1type 2status
PodFailurePolicyRule: 1action 2?onExitCodes:PodFailurePolicyOnExitCodesRequirement
    3*onPodConditions:PodFailurePolicyOnPodConditionsPattern
SuccessPolicy: 1*rules:SuccessPolicyRule
SuccessPolicyRule: 1?succeededIndexes 2?succeededCount:i
UncountedTerminatedPods: 1*succeeded 2*failed
""",
        "autoscaling": """
CrossVersionObjectReference: 1kind 2name 3apiVersion
HorizontalPodAutoscaler: @ 2spec:HorizontalPodAutoscalerSpec 3status:HorizontalPodAutoscalerStatus
HorizontalPodAutoscalerSpec: 1scaleTargetRef:CrossVersionObjectReference 2?minReplicas:i 3maxReplicas:i
    4?targetCPUUtilizationPercentage:i
HorizontalPodAutoscalerStatus: 1?observedGeneration:i 2?lastScaleTime:T 3currentReplicas:i 4desiredReplicas:i
    5?currentCPUUtilizationPercentage:i
Scale: @ 2spec:ScaleSpec 3status:ScaleStatus
ScaleSpec: 1replicas:i
ScaleStatus: 1replicas:i 2selector
""",
        "autoscaling2": """
ContainerResourceMetricSource: 1name 2target:MetricTarget 3container
ContainerResourceMetricStatus: 1name 2current:MetricValueStatus 3container
CrossVersionObjectReference: 1kind 2name 3apiVersion
ExternalMetricSource: 1metric:MetricIdentifier 2target:MetricTarget
ExternalMetricStatus: 1metric:MetricIdentifier 2current:MetricValueStatus
HPAScalingPolicy: 1type 2value:i 3periodSeconds:i
HPAScalingRules: 3?stabilizationWindowSeconds:i 1?selectPolicy 2*policies:HPAScalingPolicy 4?tolerance:Q
HorizontalPodAutoscaler: @ 2spec:HorizontalPodAutoscalerSpec 3status:HorizontalPodAutoscalerStatus
HorizontalPodAutoscalerBehavior: 1?scaleUp:HPAScalingRules 2?scaleDown:HPAScalingRules
HorizontalPodAutoscalerCondition: 1type 2status 3lastTransitionTime:T 4reason 5message 6?observedGeneration:i
HorizontalPodAutoscalerSpec: 1scaleTargetRef:CrossVersionObjectReference 2?minReplicas:i 3maxReplicas:i
    4*metrics:MetricSpec 5?behavior:HorizontalPodAutoscalerBehavior
HorizontalPodAutoscalerStatus: 1?observedGeneration:i 2?lastScaleTime:T 3currentReplicas:i 4desiredReplicas:i
    5*currentMetrics:MetricStatus 6*conditions:HorizontalPodAutoscalerCondition
MetricIdentifier: 1name 2?selector:meta.LabelSelector
MetricSpec: 1type 2?object:ObjectMetricSource 3?pods:PodsMetricSource 4?resource:ResourceMetricSource
    7?containerResource:ContainerResourceMetricSource 5?external:ExternalMetricSource
MetricStatus: 1type 2?object:ObjectMetricStatus 3?pods:PodsMetricStatus 4?resource:ResourceMetricStatus
    7?containerResource:ContainerResourceMetricStatus 5?external:ExternalMetricStatus
MetricTarget: 1type 2?value:Q 3?averageValue:Q 4?averageUtilization:i
MetricValueStatus: 1?value:Q 2?averageValue:Q 3?averageUtilization:i
ObjectMetricSource: 1describedObject:CrossVersionObjectReference 2target:MetricTarget 3metric:MetricIdentifier
ObjectMetricStatus: 1metric:MetricIdentifier 2current:MetricValueStatus 3describedObject:CrossVersionObjectReference
PodsMetricSource: 1metric:MetricIdentifier 2target:MetricTarget
PodsMetricStatus: 1metric:MetricIdentifier 2current:MetricValueStatus
ResourceMetricSource: 1name 2target:MetricTarget
ResourceMetricStatus: 1name 2current:MetricValueStatus
""",
        "policy": """
Eviction: @ 2?deleteOptions:meta.DeleteOptions
PodDisruptionBudget: @ 2spec:PodDisruptionBudgetSpec 3status:PodDisruptionBudgetStatus
PodDisruptionBudgetSpec: 1?minAvailable:I 2?selector:meta.LabelSelector 3?maxUnavailable:I
    4?unhealthyPodEvictionPolicy
PodDisruptionBudgetStatus: 1observedGeneration:i 2%disruptedPods:T 3disruptionsAllowed:i 4currentHealthy:i
    5desiredHealthy:i 6expectedPods:i 7*conditions:meta.Condition
""",
        "rbac": """
AggregationRule: 1*clusterRoleSelectors:meta.LabelSelector
ClusterRole: @ 2*rules:PolicyRule 3?aggregationRule:AggregationRule
ClusterRoleBinding: @ 2*subjects:Subject 3roleRef:RoleRef
PolicyRule: 1*verbs 2*apiGroups 3*resources 4*resourceNames 5*nonResourceURLs
Role: @ 2*rules:PolicyRule
RoleBinding: @ 2*subjects:Subject 3roleRef:RoleRef
RoleRef: 1apiGroup 2kind 3name
Subject: 1kind 2apiGroup 3name 4namespace
""",
        "authentication": """
BoundObjectReference: 1kind 2apiVersion 3name 4uid
SelfSubjectReview: @ 2status:SelfSubjectReviewStatus
SelfSubjectReviewStatus: 1userInfo:UserInfo
TokenRequest: @ 2spec:TokenRequestSpec 3status:TokenRequestStatus
TokenRequestSpec: 1*audiences 4?expirationSeconds:i 3?boundObjectRef:BoundObjectReference 5%attestations:E
TokenRequestStatus: 1token 2expirationTimestamp:T
TokenReview: @ 2spec:TokenReviewSpec 3status:TokenReviewStatus
TokenReviewSpec: 1token 2*audiences
TokenReviewStatus: 1authenticated:b 2user:UserInfo 4*audiences 3error
UserInfo: 1username 2uid 3*groups 4%extra:E
""",
        "authorization": """
FieldSelectorAttributes: 1rawSelector 2*requirements:meta.FieldSelectorRequirement
LabelSelectorAttributes: 1rawSelector 2*requirements:meta.LabelSelectorRequirement
LocalSubjectAccessReview: @ 2spec:SubjectAccessReviewSpec 3status:SubjectAccessReviewStatus
NonResourceAttributes: 1path 2verb
NonResourceRule: 1*verbs 2*nonResourceURLs
ResourceAttributes: 1namespace 2verb 3group 4version 5resource 6subresource 7name
    8?fieldSelector:FieldSelectorAttributes 9?labelSelector:LabelSelectorAttributes
ResourceRule: 1*verbs 2*apiGroups 3*resources 4*resourceNames
SelfSubjectAccessReview: @ 2spec:SelfSubjectAccessReviewSpec 3status:SubjectAccessReviewStatus
SelfSubjectAccessReviewSpec: 1?resourceAttributes:ResourceAttributes 2?nonResourceAttributes:NonResourceAttributes
SelfSubjectRulesReview: @ 2spec:SelfSubjectRulesReviewSpec 3status:SubjectRulesReviewStatus
SelfSubjectRulesReviewSpec: 1namespace
SubjectAccessReview: @ 2spec:SubjectAccessReviewSpec 3status:SubjectAccessReviewStatus
SubjectAccessReviewSpec: 1?resourceAttributes:ResourceAttributes 2?nonResourceAttributes:NonResourceAttributes 3user
    4*groups 5%extra:E 6uid
SubjectAccessReviewStatus: 1allowed:b 4denied:b 2reason 3evaluationError
SubjectRulesReviewStatus: 1*resourceRules:ResourceRule 2*nonResourceRules:NonResourceRule 3incomplete:b
    4evaluationError
""",
        "coordination": """
Lease: @ 2spec:LeaseSpec
LeaseSpec: 1?holderIdentity 2?leaseDurationSeconds:i 3?acquireTime:M 4?renewTime:M 5?leaseTransitions:i 6?strategy
    7?preferredHolder
""",
        "discovery": """
Endpoint: 1*addresses 2conditions:EndpointConditions 3?hostname 4?targetRef:core.ObjectReference 5%deprecatedTopology
    6?nodeName 7?zone 8?hints:EndpointHints
EndpointConditions: 1?ready:b 2?serving:b 3?terminating:b
EndpointHints: 1*forZones:ForZone 2*forNodes:ForNode
EndpointPort: 1?name 2?protocol 3?port:i 4?appProtocol
EndpointSlice: @ 4addressType 2*endpoints:Endpoint 3*ports:EndpointPort
ForNode: 1name
ForZone: 1name
""",
        "events": """
Event: @ 2eventTime:M 3?series:EventSeries 4reportingController 5reportingInstance 6action 7reason
    8regarding:core.ObjectReference 9?related:core.ObjectReference 10note 11type 12deprecatedSource:core.EventSource
    13deprecatedFirstTimestamp:T 14deprecatedLastTimestamp:T 15deprecatedCount:i
EventSeries: 1count:i 2lastObservedTime:M
""",
        "networking": """
HTTPIngressPath: 1path 3?pathType 2backend:IngressBackend
HTTPIngressRuleValue: 1*paths:HTTPIngressPath
IPAddress: @ 2spec:IPAddressSpec
IPAddressSpec: 1?parentRef:ParentReference
IPBlock: 1cidr 2*except
Ingress: @ 2spec:IngressSpec 3status:IngressStatus
IngressBackend: 4?service:IngressServiceBackend 3?resource:core.TypedLocalObjectReference
IngressClass: @ 2spec:IngressClassSpec
IngressClassParametersReference: 1?apiGroup 2kind 3name 4?scope 5?namespace
IngressClassSpec: 1controller 2?parameters:IngressClassParametersReference
IngressLoadBalancerIngress: 1ip 2hostname 4*ports:IngressPortStatus
IngressLoadBalancerStatus: 1*ingress:IngressLoadBalancerIngress
IngressPortStatus: 1port:i 2protocol 3?error
IngressRule: 1host 2<IngressRuleValue
IngressRuleValue: 1?http:HTTPIngressRuleValue
IngressServiceBackend: 1name 2port:ServiceBackendPort
IngressSpec: 4?ingressClassName 1?defaultBackend:IngressBackend 2*tls:IngressTLS 3*rules:IngressRule
IngressStatus: 1loadBalancer:IngressLoadBalancerStatus
IngressTLS: 1*hosts 2secretName
NetworkPolicy: @ 2spec:NetworkPolicySpec
NetworkPolicyEgressRule: 1*ports:NetworkPolicyPort 2*to:NetworkPolicyPeer
NetworkPolicyIngressRule: 1*ports:NetworkPolicyPort 2*from:NetworkPolicyPeer
NetworkPolicyPeer: 1?podSelector:meta.LabelSelector 2?namespaceSelector:meta.LabelSelector 3?ipBlock:IPBlock
NetworkPolicyPort: 1?protocol 2?port:I 3?endPort:i
NetworkPolicySpec: 1podSelector:meta.LabelSelector 2*ingress:NetworkPolicyIngressRule 3*egress:NetworkPolicyEgressRule
    4*policyTypes
ParentReference: 1group 2resource 3namespace 4name
ServiceBackendPort: 1name 2number:i
ServiceCIDR: @ 2spec:ServiceCIDRSpec 3status:ServiceCIDRStatus
ServiceCIDRSpec: 1*cidrs
ServiceCIDRStatus: 1*conditions:meta.Condition
""",
        "storage": """
StorageClass: @ 2provisioner 3%parameters 4?reclaimPolicy 5*mountOptions 6?allowVolumeExpansion:b 7?volumeBindingMode
    8*allowedTopologies:core.TopologySelectorTerm
""",
        "scheduling": """
PriorityClass: @ 2value:i 3globalDefault:b 4description 5?preemptionPolicy
""",
        "admissionregistration": """
AuditAnnotation: 1key 2valueExpression
ExpressionWarning: 2fieldRef 3warning
MatchCondition: 1name 2expression
MatchResources: 1?namespaceSelector:meta.LabelSelector 2?objectSelector:meta.LabelSelector
    3*resourceRules:NamedRuleWithOperations 4*excludeResourceRules:NamedRuleWithOperations 7?matchPolicy
MutatingWebhook: 1name 2clientConfig:WebhookClientConfig 3*rules:RuleWithOperations 4?failurePolicy 9?matchPolicy
    5?namespaceSelector:meta.LabelSelector 11?objectSelector:meta.LabelSelector 6?sideEffects 7?timeoutSeconds:i
    8*admissionReviewVersions 10?reinvocationPolicy 12*matchConditions:MatchCondition
MutatingWebhookConfiguration: @ 2*webhooks:MutatingWebhook
NamedRuleWithOperations: 1*resourceNames 2<RuleWithOperations
ParamKind: 1apiVersion 2kind
ParamRef: 1name 2namespace 3?selector:meta.LabelSelector 4?parameterNotFoundAction
Rule: 1*apiGroups 2*apiVersions 3*resources 4?scope
RuleWithOperations: 1*operations 2<Rule
ServiceReference: 1namespace 2name 3?path 4?port:i
TypeChecking: 1*expressionWarnings:ExpressionWarning
ValidatingAdmissionPolicy: @ 2spec:ValidatingAdmissionPolicySpec 3status:ValidatingAdmissionPolicyStatus
ValidatingAdmissionPolicyBinding: @ 2spec:ValidatingAdmissionPolicyBindingSpec
ValidatingAdmissionPolicyBindingSpec: 1policyName 2?paramRef:ParamRef 3?matchResources:MatchResources
    4*validationActions
ValidatingAdmissionPolicySpec: 1?paramKind:ParamKind 2?matchConstraints:MatchResources 3*validations:Validation
    4?failurePolicy 5*auditAnnotations:AuditAnnotation 6*matchConditions:MatchCondition 7*variables:Variable
ValidatingAdmissionPolicyStatus: 1observedGeneration:i 2?typeChecking:TypeChecking 3*conditions:meta.Condition
ValidatingWebhook: 1name 2clientConfig:WebhookClientConfig 3*rules:RuleWithOperations 4?failurePolicy 9?matchPolicy
    5?namespaceSelector:meta.LabelSelector 10?objectSelector:meta.LabelSelector 6?sideEffects 7?timeoutSeconds:i
    8*admissionReviewVersions 11*matchConditions:MatchCondition
ValidatingWebhookConfiguration: @ 2*webhooks:ValidatingWebhook
Validation: 1expression 2message 3?reason 4messageExpression
Variable: 1name 2expression
WebhookClientConfig: 3?url 1?service:ServiceReference 2caBundle:y
""",
    }
)
"""Structs of a package, by package."""
