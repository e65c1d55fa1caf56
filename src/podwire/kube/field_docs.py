"""What ``kubectl explain`` says about the fields people look at most, by struct and JSON name.

Apart from the structs because only OpenAPI needs it: nothing here loads when podwire starts. Our words, one line each.
"""

from collections.abc import Mapping
from types import MappingProxyType

Docs = Mapping[str, str]

_OBJECT: Docs = {
    "apiVersion": "Version of the API this object is written in.",
    "kind": "What sort of object this is.",
    "metadata": "Name, labels and everything else all objects have.",
    "spec": "What is wanted.",
    "status": "What is observed; written by podwire, not by you.",
}

_META: Docs = {
    "name": "Name, unique among objects of the kind in the namespace; it cannot be changed.",
    "generateName": "Beginning of a name the server completes, when name is not given.",
    "namespace": "Namespace the object lives in; it cannot be changed.",
    "labels": "Keys and values that selectors match.",
    "annotations": "Keys and values that selectors do not match: notes, settings for controllers.",
    "finalizers": "Who must agree before a deleted object goes; each removes its own entry.",
    "ownerReferences": "Objects this one belongs to; when all are gone it is collected.",
    "resourceVersion": "Version of this object; an update that names an old one is refused.",
    "uid": "Identity in space and time: a new object of the same name has another.",
    "generation": "Counts changes of the spec.",
    "creationTimestamp": "When the object was created.",
    "deletionTimestamp": "When the object was asked to go; set by a delete, never by you.",
    "managedFields": "Which manager owns which fields, for server-side apply.",
}

_SERVICE: Docs = {
    "type": "How it is reached: ClusterIP (inside), NodePort (a port on every node), LoadBalancer (an address"
    " outside), ExternalName (a DNS alias). Default ClusterIP.",
    "selector": "Pods with all these labels are the endpoints; without it you write EndpointSlices yourself.",
    "ports": "Ports the Service has.",
    "clusterIP": "Virtual address; None makes the Service headless (DNS answers the pods' addresses).",
    "clusterIPs": "Virtual addresses, one per IP family; the first equals clusterIP.",
    "sessionAffinity": "ClientIP sends connections of one client address to one endpoint. Default None.",
    "sessionAffinityConfig": "How long affinity lasts after the last connection.",
    "externalTrafficPolicy": "Local uses only endpoints on the node that was reached and keeps the client's address;"
    " Cluster uses all.",
    "internalTrafficPolicy": "Local uses only endpoints on the client's own node; Cluster uses all.",
    "externalName": "DNS name that lookups answer with (CNAME), for type ExternalName.",
    "externalIPs": "Further addresses that nodes accept traffic for.",
    "loadBalancerSourceRanges": "Client addresses the load balancer address answers; all, when empty.",
    "publishNotReadyAddresses": "List endpoints that are not ready too, as peers of a StatefulSet want.",
    "healthCheckNodePort": "Node port that answers whether the node has local endpoints.",
    "trafficDistribution": "PreferSameZone or PreferSameNode keeps traffic near while endpoints there are ready.",
    "ipFamilies": "IPv4, IPv6 or both, in order of preference.",
    "ipFamilyPolicy": "SingleStack, PreferDualStack or RequireDualStack.",
    "allocateLoadBalancerNodePorts": "Whether a LoadBalancer also takes node ports. Default true.",
    "loadBalancerClass": "Which load balancer implementation should act; podwire acts when it is not set.",
}

_SERVICE_PORT: Docs = {
    "name": "Name of the port; needed when there are several.",
    "port": "Port of the Service's addresses.",
    "targetPort": "Port of the pods, by number or by a container port's name. Default: the same as port.",
    "nodePort": "Port on every node (30000-32767); chosen by the server when not given.",
    "protocol": "TCP, UDP or SCTP. Default TCP.",
    "appProtocol": "What is spoken, for proxies: http, kubernetes.io/h2c, kubernetes.io/ws.",
}

_POD_SPEC: Docs = {
    "containers": "Containers of the pod; they share one network namespace, so one address and one set of ports.",
    "initContainers": "Containers that run before the others, in order; restartPolicy Always makes a sidecar.",
    "restartPolicy": "Always, OnFailure or Never. Default Always.",
    "nodeName": "Node the pod runs on.",
    "nodeSelector": "Labels a node must have.",
    "serviceAccountName": "Identity the pod uses towards the API.",
    "dnsPolicy": "ClusterFirst, ClusterFirstWithHostNet, Default or None.",
    "dnsConfig": "Additions to resolv.conf.",
    "hostname": "Host name; the pod's name when not given.",
    "subdomain": "Name of the headless Service that gives the pod a DNS name hostname.subdomain.",
    "hostAliases": "Lines added to /etc/hosts.",
    "hostNetwork": "Use the node's network namespace; network policies do not apply then.",
    "terminationGracePeriodSeconds": "Seconds between SIGTERM and SIGKILL. Default 30.",
    "volumes": "Volumes containers may mount.",
    "tolerations": "Taints the pod may run in spite of.",
    "affinity": "Wishes and conditions about nodes and other pods.",
    "topologySpreadConstraints": "How pods spread over zones or nodes.",
    "securityContext": "User, groups and limits for all containers.",
    "readinessGates": "Conditions that must be true for the pod to be ready, besides the containers.",
    "imagePullSecrets": "Secrets with registry credentials.",
    "enableServiceLinks": "Set environment variables for the Services of the namespace. Default true.",
}

_CONTAINER: Docs = {
    "name": "Name of the container, unique in the pod.",
    "image": "Image to run.",
    "command": "Program instead of the image's entry point.",
    "args": "Arguments instead of the image's.",
    "env": "Environment variables.",
    "envFrom": "ConfigMaps and Secrets whose keys become environment variables.",
    "ports": "Ports the container listens on; a name given here may be used in Services, probes and policies.",
    "readinessProbe": "While it fails the pod gets no traffic from Services.",
    "livenessProbe": "When it fails the container is restarted.",
    "startupProbe": "The other probes wait until it has passed once.",
    "resources": "CPU and memory wanted and allowed.",
    "volumeMounts": "Where volumes appear in the container.",
    "imagePullPolicy": "Always, IfNotPresent or Never.",
    "restartPolicy": "Always makes an init container a sidecar.",
    "workingDir": "Directory the program starts in.",
    "lifecycle": "Actions after start and before stop.",
    "securityContext": "User, capabilities and privileges.",
}

_PROBE: Docs = {
    "exec": "A command; passes when it exits 0.",
    "httpGet": "A GET; passes on 200 to 399.",
    "tcpSocket": "A connection; passes when it opens.",
    "grpc": "The gRPC health service; passes on SERVING.",
    "initialDelaySeconds": "Seconds before the first check.",
    "periodSeconds": "Seconds between checks. Default 10.",
    "timeoutSeconds": "Seconds a check may take. Default 1.",
    "successThreshold": "Passes in a row that make it good. Default 1.",
    "failureThreshold": "Failures in a row that make it bad. Default 3.",
}

_POLICY: Docs = {
    "podSelector": "Pods the policy applies to; empty means all pods of the namespace.",
    "ingress": "Allowed sources; none of them, when the list is empty and Ingress is in policyTypes.",
    "egress": "Allowed destinations; none of them, when the list is empty and Egress is in policyTypes.",
    "policyTypes": "Directions the policy isolates: Ingress, Egress or both.",
}

_PEER: Docs = {
    "podSelector": "Pods with these labels, in the policy's namespace or in those of namespaceSelector.",
    "namespaceSelector": "Namespaces with these labels; alone it means all their pods.",
    "ipBlock": "Addresses outside the cluster; not together with selectors.",
}

_POLICY_PORT: Docs = {
    "port": "Port of the pod after translation (targetPort), by number or name; all when absent.",
    "endPort": "Last port of a range that begins at port.",
    "protocol": "TCP, UDP or SCTP. Default TCP.",
}

_INGRESS: Docs = {
    "ingressClassName": "Class that should serve this Ingress (`kubectl get ingressclass`).",
    "rules": "Hosts and their paths.",
    "tls": "Hosts served over TLS and the Secrets with their certificates.",
    "defaultBackend": "Where requests go that no rule matches.",
}

_INGRESS_PATH: Docs = {
    "path": "Path to match; begins with /.",
    "pathType": "Exact, Prefix (by whole path elements) or ImplementationSpecific.",
    "backend": "Service that gets the requests.",
}

_WORKLOAD: Docs = {
    "replicas": "Pods wanted. Default 1.",
    "selector": "Labels of the pods it owns; must match the template and cannot be changed.",
    "template": "The pods to make.",
    "strategy": "How pods are replaced when the template changes.",
    "updateStrategy": "How pods are replaced when the template changes.",
    "minReadySeconds": "Seconds a pod must be ready to count as available.",
    "revisionHistoryLimit": "Old versions kept for rollback. Default 10.",
    "progressDeadlineSeconds": "Seconds without progress after which the rollout counts as failed. Default 600.",
    "paused": "Do not roll out changes for now.",
    "serviceName": "Headless Service that gives the pods their DNS names.",
    "podManagementPolicy": "OrderedReady (one after the other) or Parallel.",
    "volumeClaimTemplates": "Volumes each pod gets for itself.",
}

_JOB: Docs = {
    "parallelism": "Pods that may run at the same time. Default 1.",
    "completions": "Pods that must succeed; absent means that any one success ends the Job.",
    "backoffLimit": "Failures after which the Job has failed. Default 6.",
    "activeDeadlineSeconds": "Seconds after which the Job has failed, whatever its pods do.",
    "ttlSecondsAfterFinished": "Seconds after which a finished Job is deleted.",
    "completionMode": "NonIndexed, or Indexed: every pod gets an index in JOB_COMPLETION_INDEX.",
    "suspend": "Stop the pods, and start none.",
    "podFailurePolicy": "What failed pods mean, by exit code or condition.",
    "podReplacementPolicy": "When a pod is replaced: TerminatingOrFailed or Failed.",
    "selector": "Labels of its pods; made by the server.",
    "template": "The pods to make; restartPolicy must be OnFailure or Never.",
}

_CRON_JOB: Docs = {
    "schedule": "Five fields (minute, hour, day, month, weekday) or @hourly, @daily, @weekly, @monthly, @yearly.",
    "timeZone": "Time zone of the schedule, such as Europe/Berlin. Default: that of the controller, UTC.",
    "concurrencyPolicy": "Allow, Forbid (skip while one runs) or Replace. Default Allow.",
    "startingDeadlineSeconds": "Seconds a start may be late; later it is missed.",
    "suspend": "Start no further Jobs.",
    "jobTemplate": "The Jobs to make.",
    "successfulJobsHistoryLimit": "Finished Jobs kept. Default 3.",
    "failedJobsHistoryLimit": "Failed Jobs kept. Default 1.",
}

_BUDGET: Docs = {
    "minAvailable": "Pods that must stay, as a number or percentage.",
    "maxUnavailable": "Pods that may be missing, as a number or percentage.",
    "selector": "Pods it is about; empty means all of the namespace.",
    "unhealthyPodEvictionPolicy": "IfHealthyBudget or AlwaysAllow: whether pods that are not ready may always go.",
}

_ENDPOINT: Docs = {
    "addresses": "Addresses of the endpoint; the first one is used.",
    "conditions": "Whether it is ready, serving, terminating.",
    "nodeName": "Node of the endpoint.",
    "zone": "Zone of the endpoint.",
    "targetRef": "The pod behind it.",
    "hints": "Zones and nodes that should use it.",
    "hostname": "Host name, for DNS names of pods.",
}

_DATA: Docs = {
    "data": "Values by key; in a Secret they are base64.",
    "stringData": "Values in clear text; the server moves them into data.",
    "binaryData": "Binary values, base64, by key.",
    "type": "Kind of secret: Opaque, kubernetes.io/tls and others.",
    "immutable": "Refuse every later change of the data.",
}

_ROLLING: Docs = {
    "maxUnavailable": "Pods that may be missing during a roll, as a number or percentage. Default 25%.",
    "maxSurge": "Pods that may be surplus during a roll, as a number or percentage. Default 25%.",
}

_SECURITY: Docs = {
    "runAsUser": "User id of the processes.",
    "runAsGroup": "Group id of the processes.",
    "runAsNonRoot": "Refuse to start as root.",
    "privileged": "All of the node's privileges.",
    "readOnlyRootFilesystem": "Nothing outside volumes can be written.",
    "allowPrivilegeEscalation": "Whether a process may gain more privileges than its parent.",
    "capabilities": "Kernel capabilities to add and drop, such as NET_ADMIN.",
}

_SELECTOR: Docs = {
    "matchLabels": "Labels that must be there with these values.",
    "matchExpressions": "Further conditions; all must hold.",
}

FIELD_DOCS: Mapping[str, Docs] = MappingProxyType(
    {
        "IPBlock": {"cidr": "Block of addresses, such as 10.0.0.0/8.", "except": "Smaller blocks left out of cidr."},
        "IngressRule": {"host": "Host name, or *.name; all hosts when absent.", "http": "Paths of the host."},
        "IngressTLS": {"hosts": "Hosts the certificate is for.", "secretName": "Secret with tls.crt and tls.key."},
        "LabelSelector": _SELECTOR,
        "RollingUpdateDeployment": _ROLLING,
        "SecurityContext": _SECURITY,
        "ServiceBackendPort": {"name": "Name of the Service's port.", "number": "Number of the Service's port."},
        **dict.fromkeys(("Pod", "Service", "Node", "Namespace", "Deployment", "ReplicaSet", "StatefulSet"), _OBJECT),
        **dict.fromkeys(("Ingress", "IngressClass", "NetworkPolicy", "Lease", "ServiceAccount"), _OBJECT),
        **dict.fromkeys(("PersistentVolume", "PersistentVolumeClaim"), _OBJECT),
        **dict.fromkeys(("DaemonSet", "Job", "CronJob", "PodDisruptionBudget"), _OBJECT),
        "ConfigMap": {**_OBJECT, **_DATA},
        "Container": _CONTAINER,
        "CronJobSpec": _CRON_JOB,
        "DaemonSetSpec": _WORKLOAD,
        "DeploymentSpec": _WORKLOAD,
        "Endpoint": _ENDPOINT,
        "HTTPIngressPath": _INGRESS_PATH,
        "IngressSpec": _INGRESS,
        "NetworkPolicyPeer": _PEER,
        "NetworkPolicyPort": _POLICY_PORT,
        "NetworkPolicySpec": _POLICY,
        "JobSpec": _JOB,
        "ObjectMeta": _META,
        "PodDisruptionBudgetSpec": _BUDGET,
        "PodSpec": _POD_SPEC,
        "Probe": _PROBE,
        "ReplicaSetSpec": _WORKLOAD,
        "Secret": {**_OBJECT, **_DATA},
        "ServicePort": _SERVICE_PORT,
        "ServiceSpec": _SERVICE,
        "StatefulSetSpec": _WORKLOAD,
    }
)
