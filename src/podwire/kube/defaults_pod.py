"""Defaults of pods and pod templates.

Spec: k8s:pkg/apis/core/v1/defaults.go (SetDefaults_Pod, _PodSpec, _Container, _Probe, _Volume).
"""

from typing import Any

from podwire.kube.edit import each, fill, put
from podwire.kube.quantity import canonical_quantity

Obj = dict[str, Any]

_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_FILE_MODES = ("secret", "configMap", "downwardAPI", "projected")


def default_pod(obj: Obj) -> Obj:
    """A pod: its spec's defaults, service links, and requests equal to limits where only limits are given."""
    spec = default_pod_spec(obj.get("spec") or {})
    if spec.get("enableServiceLinks") is None:
        spec = put(spec, "enableServiceLinks", True)
    for key in ("containers", "initContainers"):
        spec = each(spec, key, _requests_from_limits)
    return fill(put(obj, "spec", spec), {"status": {"phase": "Pending"}})


def default_pod_template(template: Obj) -> Obj:
    """A template of a workload."""
    return put(template, "spec", default_pod_spec(template.get("spec") or {}))


def default_volume_claim(claim: Obj) -> Obj:
    """A claim template of a StatefulSet."""
    spec = claim.get("spec") or {}
    if not isinstance(spec, dict):
        return claim
    spec = fill(spec, {"volumeMode": "Filesystem"})
    claim = fill(put(claim, "spec", spec), {"apiVersion": "v1", "kind": "PersistentVolumeClaim"})
    return fill(claim, {"status": {"phase": "Pending"}})


def default_pod_spec(spec: Obj) -> Obj:
    """A pod spec, of a pod or a template."""
    spec = fill(
        spec,
        {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
    )
    # The deprecated alias is kept equal by conversion.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec = fill(spec, {"serviceAccountName": account, "serviceAccount": account})
    host = bool(spec.get("hostNetwork"))
    for key in _CONTAINER_LISTS:
        spec = each(spec, key, lambda container: default_container(container, host_network=host))
    if spec.get("overhead"):
        spec = put(spec, "overhead", _canonical(spec["overhead"]))
    return each(spec, "volumes", _volume)


def default_container(container: Obj, *, host_network: bool = False) -> Obj:
    """One container of any of the three lists."""
    container = fill(
        container,
        {
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": _pull_policy(container.get("image") or ""),
            "resources": {},
        },
    )
    container = each(container, "ports", lambda port: _container_port(port, host_network))
    container = each(container, "env", _variable)
    for key in _PROBES:
        if container.get(key) is not None:
            container = put(container, key, _probe(container[key]))
    if container.get("lifecycle"):
        container = put(container, "lifecycle", _lifecycle(container["lifecycle"]))
    if container["resources"]:
        container = put(container, "resources", _resources(container["resources"]))
    return container


def _pull_policy(image: str) -> str:
    """Always for ``latest`` or no tag, else IfNotPresent; a digest is a fixed image."""
    if "@" in image:
        return "IfNotPresent"
    _, _, tag = image.rpartition("/")[2].partition(":")
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _container_port(port: Obj, host_network: bool) -> Obj:
    port = fill(port, {"protocol": "TCP"})
    if host_network and not port.get("hostPort"):
        return put(port, "hostPort", port.get("containerPort", 0))
    return port


def _variable(variable: Obj) -> Obj:
    source = variable.get("valueFrom") or {}
    if source.get("fieldRef"):
        return put(variable, "valueFrom", put(source, "fieldRef", fill(source["fieldRef"], {"apiVersion": "v1"})))
    if source.get("resourceFieldRef"):
        reference = source["resourceFieldRef"]
        divisor = canonical_quantity(reference.get("divisor") or 0)
        return put(variable, "valueFrom", put(source, "resourceFieldRef", put(reference, "divisor", divisor)))
    return variable


def _probe(probe: Obj) -> Obj:
    # Zero means unset for these numbers.
    numbers = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    probe = {**probe, **{key: value for key, value in numbers.items() if not probe.get(key)}}
    if isinstance(probe.get("grpc"), dict):
        probe["grpc"] = {"service": "", **probe["grpc"]}
    return _handler(probe)


def _handler(handler: Obj) -> Obj:
    if isinstance(handler.get("httpGet"), dict):
        return put(handler, "httpGet", fill(handler["httpGet"], {"path": "/", "scheme": "HTTP"}))
    return handler


def _lifecycle(lifecycle: Obj) -> Obj:
    return {key: _handler(value) if isinstance(value, dict) else value for key, value in lifecycle.items()}


def _canonical(quantities: Obj) -> Obj:
    return {key: canonical_quantity(value) for key, value in quantities.items()}


def _resources(resources: Obj) -> Obj:
    for key in ("limits", "requests"):
        if resources.get(key):
            resources = put(resources, key, _canonical(resources[key]))
    return resources


def _requests_from_limits(container: Obj) -> Obj:
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    requests = resources.get("requests") or {}
    missing = {key: value for key, value in limits.items() if key not in requests}
    if not missing:
        return container
    return put(container, "resources", put(resources, "requests", {**requests, **missing}))


def _volume(volume: Obj) -> Obj:
    sources = [key for key in volume if key != "name"]
    if not sources:
        return put(volume, "emptyDir", {})
    for key in _FILE_MODES:
        if isinstance(volume.get(key), dict):
            volume = put(volume, key, fill(volume[key], {"defaultMode": 420}))
    if isinstance(volume.get("hostPath"), dict):
        volume = put(volume, "hostPath", {"type": "", **volume["hostPath"]})
    if isinstance(volume.get("projected"), dict) and isinstance(volume["projected"].get("sources"), list):
        volume = put(volume, "projected", each(volume["projected"], "sources", _projection))
    if isinstance(volume.get("downwardAPI"), dict):
        volume = put(volume, "downwardAPI", each(volume["downwardAPI"], "items", _downward_item))
    return volume


def _projection(source: Obj) -> Obj:
    token = source.get("serviceAccountToken")
    if isinstance(token, dict):
        source = put(source, "serviceAccountToken", fill(token, {"expirationSeconds": 3600}))
    if isinstance(source.get("downwardAPI"), dict):
        source = put(source, "downwardAPI", each(source["downwardAPI"], "items", _downward_item))
    return source


def _downward_item(item: Obj) -> Obj:
    if isinstance(item.get("fieldRef"), dict):
        return put(item, "fieldRef", fill(item["fieldRef"], {"apiVersion": "v1"}))
    return item
