"""The API's defaults: what kube-apiserver adds to an object before it validates and stores it.

1. The input is never changed: a new object shares every untouched part with it.
2. A field counts as missing when absent, null or the empty string, as in Go.
3. No allocation here (cluster addresses, node ports, names, uids): that is the API server's.

Spec: k8s:pkg/apis/{core,apps,networking,discovery}/v1/defaults.go and the strategies' PrepareForCreate.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from podwire.kube.defaults_admission import default_mutating, default_validating
from podwire.kube.defaults_pod import default_pod, default_pod_template, default_volume_claim
from podwire.kube.edit import each, fill, put

Obj = dict[str, Any]


def default_object(obj: Obj) -> Obj:
    """``obj`` with its kind's defaults. Its types must have been checked; unknown kinds come back as they are."""
    rule = _RULES.get(str(obj.get("kind", "")))
    return rule(obj) if rule else obj


def _service(obj: Obj) -> Obj:
    spec = _service_spec(obj.get("spec") or {})
    status = obj.get("status") or {}
    balancer = status.get("loadBalancer") or {}
    if balancer.get("ingress"):
        # KEP-1860: an address without mode is a VIP the proxy must program.
        ingress = [fill(entry, {"ipMode": "VIP"}) if entry.get("ip") else entry for entry in balancer["ingress"]]
        return {**obj, "spec": spec, "status": put(status, "loadBalancer", put(balancer, "ingress", ingress))}
    return fill(put(obj, "spec", spec), {"status": {"loadBalancer": {}}})


def _service_spec(spec: Obj) -> Obj:
    """S2."""
    spec = fill(each(spec, "ports", _service_port), {"sessionAffinity": "None", "type": "ClusterIP"})
    if spec["sessionAffinity"] == "None":
        spec = {k: v for k, v in spec.items() if k != "sessionAffinityConfig"}
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.get("sessionAffinityConfig") or {}
        client = fill(config.get("clientIP") or {}, {"timeoutSeconds": 10800})
        spec = put(spec, "sessionAffinityConfig", put(config, "clientIP", client))
    external = spec["type"] in ("NodePort", "LoadBalancer")
    if external or (spec["type"] == "ClusterIP" and spec.get("externalIPs")):
        spec = fill(spec, {"externalTrafficPolicy": "Cluster"})
    if spec["type"] in ("NodePort", "LoadBalancer", "ClusterIP"):
        spec = fill(spec, {"internalTrafficPolicy": "Cluster"})
    if spec["type"] == "LoadBalancer":
        spec = fill(spec, {"allocateLoadBalancerNodePorts": True})
    return spec


def _service_port(port: Obj) -> Obj:
    port = fill(port, {"protocol": "TCP"})
    return put(port, "targetPort", port.get("port", 0)) if port.get("targetPort") in (None, 0, "") else port


def _namespace(obj: Obj) -> Obj:
    meta = obj.get("metadata") or {}
    name = meta.get("name", "")
    if name:
        meta = put(meta, "labels", fill(meta.get("labels") or {}, {"kubernetes.io/metadata.name": name}))
    spec = obj.get("spec") or {}
    if not meta.get("deletionTimestamp") and "finalizers" not in spec:
        spec = put(spec, "finalizers", ["kubernetes"])
    status = fill(obj.get("status") or {}, {"phase": "Active"})
    return {**obj, "metadata": meta, "spec": spec, "status": status}


def _node(obj: Obj) -> Obj:
    status = obj.get("status") or {}
    if status.get("capacity") and not status.get("allocatable"):
        return put(obj, "status", put(status, "allocatable", dict(status["capacity"])))
    return obj


def _secret(obj: Obj) -> Obj:
    obj = fill(obj, {"type": "Opaque"})
    written = obj.get("stringData")
    if not written:
        return {k: v for k, v in obj.items() if k != "stringData"} if "stringData" in obj else obj
    encoded = {key: b64encode((text or "").encode()).decode() for key, text in written.items()}
    rest = {k: v for k, v in obj.items() if k != "stringData"}
    return {**rest, "data": {**(obj.get("data") or {}), **encoded}}


def _endpoints(obj: Obj) -> Obj:
    return each(obj, "subsets", lambda subset: each(subset, "ports", lambda port: fill(port, {"protocol": "TCP"})))


def _endpoint_slice(obj: Obj) -> Obj:
    return each(obj, "ports", lambda port: put(fill(port, {"protocol": "TCP"}), "name", port.get("name") or ""))


def _deployment(obj: Obj) -> Obj:
    spec = fill(obj.get("spec") or {}, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    strategy = fill(spec.get("strategy") or {}, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        rolling = fill(strategy.get("rollingUpdate") or {}, {"maxUnavailable": "25%", "maxSurge": "25%"})
        strategy = put(strategy, "rollingUpdate", rolling)
    return put(obj, "spec", _template(put(spec, "strategy", strategy)))


def _replica_set(obj: Obj) -> Obj:
    return put(obj, "spec", _template(fill(obj.get("spec") or {}, {"replicas": 1})))


def _stateful_set(obj: Obj) -> Obj:
    spec = fill(
        obj.get("spec") or {},
        {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady"},
    )
    strategy = fill(spec.get("updateStrategy") or {}, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        rolling = fill(strategy.get("rollingUpdate") or {}, {"partition": 0})
        strategy = put(strategy, "rollingUpdate", rolling)
    retention = fill(
        spec.get("persistentVolumeClaimRetentionPolicy") or {}, {"whenDeleted": "Retain", "whenScaled": "Retain"}
    )
    spec = {**spec, "updateStrategy": strategy, "persistentVolumeClaimRetentionPolicy": retention}
    return put(obj, "spec", _template(each(spec, "volumeClaimTemplates", default_volume_claim)))


def _daemon_set(obj: Obj) -> Obj:
    spec = fill(obj.get("spec") or {}, {"revisionHistoryLimit": 10})
    strategy = fill(spec.get("updateStrategy") or {}, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        rolling = fill(strategy.get("rollingUpdate") or {}, {"maxUnavailable": 1, "maxSurge": 0})
        strategy = put(strategy, "rollingUpdate", rolling)
    return put(obj, "spec", _template(put(spec, "updateStrategy", strategy)))


def _job(obj: Obj) -> Obj:
    return put(obj, "spec", _job_spec(obj.get("spec") or {}))


def _job_spec(spec: Obj) -> Obj:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec = fill(spec, {"completions": 1})
    per_index = spec.get("backoffLimitPerIndex") is not None
    fixed = {
        "parallelism": 1,
        "backoffLimit": (1 << 31) - 1 if per_index else 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "podReplacementPolicy": "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed",
    }
    spec = fill(spec, fixed)
    policy = spec.get("podFailurePolicy")
    if policy:
        spec = put(spec, "podFailurePolicy", each(policy, "rules", _failure_rule))
    return _template(spec)


def _failure_rule(rule: Obj) -> Obj:
    return each(rule, "onPodConditions", lambda pattern: fill(pattern, {"status": "True"}))


def _cron_job(obj: Obj) -> Obj:
    fixed = {
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    }
    spec = fill(obj.get("spec") or {}, fixed)
    template = spec.get("jobTemplate")
    if not template:
        return put(obj, "spec", spec)
    job = template.get("spec") or {}
    # Jobs are defaulted when they are made; their pods' template already here.
    return put(obj, "spec", put(spec, "jobTemplate", put(template, "spec", _template(job))))


def _priority_class(obj: Obj) -> Obj:
    return fill(obj, {"preemptionPolicy": "PreemptLowerPriority"})


def _template(spec: Obj) -> Obj:
    return put(spec, "template", default_pod_template(spec["template"])) if spec.get("template") else spec


def _ingress_class(obj: Obj) -> Obj:
    spec = obj.get("spec") or {}
    parameters = spec.get("parameters")
    return put(obj, "spec", put(spec, "parameters", fill(parameters, {"scope": "Cluster"}))) if parameters else obj


def _network_policy(obj: Obj) -> Obj:
    """N10; policyTypes as the docs of the field say: always Ingress, and Egress when there are egress rules."""

    def rule(entry: Obj) -> Obj:
        return each(entry, "ports", lambda port: fill(port, {"protocol": "TCP"}))

    spec = each(each(obj.get("spec") or {}, "ingress", rule), "egress", rule)
    types = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    return put(obj, "spec", spec if spec.get("policyTypes") else put(spec, "policyTypes", types))


def _limit_range(obj: Obj) -> Obj:
    spec = obj.get("spec") or {}
    return put(obj, "spec", each(spec, "limits", _limit_item)) if spec.get("limits") else obj


def _limit_item(item: Obj) -> Obj:
    """What is missing comes from the next stricter: default from max, defaultRequest from default, then min."""
    if item.get("type") != "Container":
        return item
    default = {**(item.get("max") or {}), **(item.get("default") or {})}
    request = {**(item.get("min") or {}), **default, **(item.get("defaultRequest") or {})}
    filled = {name: found for name, found in (("default", default), ("defaultRequest", request)) if found}
    return {**item, **filled}


def _role_binding(obj: Obj) -> Obj:
    reference = fill(obj.get("roleRef") or {}, {"apiGroup": _RBAC})
    return each(put(obj, "roleRef", reference), "subjects", _subject) if "roleRef" in obj else obj


def _subject(subject: Obj) -> Obj:
    return fill(subject, {"apiGroup": _RBAC}) if subject.get("kind") in ("User", "Group") else subject


def _claim(obj: Obj) -> Obj:
    filled = put(obj, "spec", fill(obj.get("spec") or {}, {"volumeMode": "Filesystem"}))
    return put(filled, "status", fill(obj.get("status") or {}, {"phase": "Pending"}))


def _volume(obj: Obj) -> Obj:
    defaults = {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"}
    filled = put(obj, "spec", fill(obj.get("spec") or {}, defaults))
    return put(filled, "status", fill(obj.get("status") or {}, {"phase": "Pending"}))


def _storage_class(obj: Obj) -> Obj:
    return fill(obj, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})


def _autoscaler(obj: Obj) -> Obj:
    spec = fill(obj.get("spec") or {}, {"minReplicas": 1})
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec = {**spec, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]}
    return put(obj, "spec", spec)


_RBAC = "rbac.authorization.k8s.io"
_RULES: Mapping[str, Callable[[Obj], Obj]] = MappingProxyType(
    {
        "CronJob": _cron_job,
        "DaemonSet": _daemon_set,
        "Deployment": _deployment,
        "EndpointSlice": _endpoint_slice,
        "Endpoints": _endpoints,
        "HorizontalPodAutoscaler": _autoscaler,
        "IngressClass": _ingress_class,
        "LimitRange": _limit_range,
        "Job": _job,
        "MutatingWebhookConfiguration": default_mutating,
        "Namespace": _namespace,
        "NetworkPolicy": _network_policy,
        "Node": _node,
        "PersistentVolume": _volume,
        "PersistentVolumeClaim": _claim,
        "Pod": default_pod,
        "PriorityClass": _priority_class,
        "ClusterRoleBinding": _role_binding,
        "RoleBinding": _role_binding,
        "ReplicaSet": _replica_set,
        "Secret": _secret,
        "Service": _service,
        "StatefulSet": _stateful_set,
        "StorageClass": _storage_class,
        "ValidatingWebhookConfiguration": default_validating,
    }
)
"""Kinds not listed (ConfigMap, Event, Ingress, Lease, ServiceAccount) have no defaults in Kubernetes either."""
