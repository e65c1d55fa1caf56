"""Pods and pod templates.

Spec: k8s:pkg/apis/core/validation/validation.go ValidatePodSpec, ValidatePodUpdate.
"""

from collections.abc import Container
from typing import Any

from podwire.kube.names import dns_label_problems, dns_subdomain_problems, qualified_name_problems
from podwire.kube.validate.addresses import check_ip
from podwire.kube.validate.containers import check_containers
from podwire.kube.validate.ephemeral import check_additions
from podwire.kube.validate.errors import (
    Errors,
    duplicate,
    each_invalid,
    forbidden,
    immutable,
    invalid,
    non_negative,
    not_supported,
    one_of,
    required,
)
from podwire.kube.validate.meta import check_labels, check_template_meta

Obj = dict[str, Any]

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

_UPDATE_DETAIL = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def check_pod(obj: Obj, old: Obj | None) -> Errors:
    """A pod; with ``old``, what may not change."""
    spec = obj.get("spec") or {}
    yield from check_pod_spec(spec, "spec")
    if old is None and spec.get("ephemeralContainers"):
        yield forbidden("spec.ephemeralContainers", "cannot be set on create")
    if old is not None:
        yield from _check_update(obj.get("spec") or {}, old.get("spec") or {})


def check_ephemeral_update(obj: Obj, old: Obj) -> Errors:
    """A pod that was written through ``pods/ephemeralcontainers``."""
    yield from check_pod_spec(obj.get("spec") or {}, "spec")
    yield from check_additions(obj, old)


def check_template(template: Obj, path: str) -> Errors:
    """The template of a Deployment, ReplicaSet or StatefulSet: its pods always restart."""
    spec = template.get("spec") or {}
    yield from check_template_meta(template.get("metadata") or {}, f"{path}.metadata")
    yield from check_pod_spec(spec, f"{path}.spec")
    if spec.get("restartPolicy") in ("OnFailure", "Never"):
        yield not_supported(f"{path}.spec.restartPolicy", spec["restartPolicy"], ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        yield forbidden(f"{path}.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported")
    if spec.get("ephemeralContainers"):
        yield forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")


def check_pod_spec(spec: Obj, path: str) -> Errors:
    """A pod spec after defaulting; ``volumes`` first, as mounts refer to them."""
    volumes: dict[str, None] = {}
    yield from _check_volumes(spec.get("volumes") or [], f"{path}.volumes", volumes)
    yield from check_containers(spec, path, volumes=volumes)
    yield from one_of(f"{path}.restartPolicy", spec.get("restartPolicy") or "", RESTART_POLICIES)
    yield from one_of(f"{path}.dnsPolicy", spec.get("dnsPolicy") or "", DNS_POLICIES)
    yield from check_labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    yield from _check_names(spec, path)
    yield from _check_dns(spec, path)
    yield from non_negative(f"{path}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= (1 << 31) - 1:
        yield invalid(f"{path}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive")
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _check_toleration(toleration, f"{path}.tolerations[{index}]")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        yield from check_ip(f"{path}.hostAliases[{index}].ip", alias.get("ip") or "")
        for position, host in enumerate(alias.get("hostnames") or ()):
            where = f"{path}.hostAliases[{index}].hostnames[{position}]"
            yield from each_invalid(where, host, dns_subdomain_problems(host))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        yield invalid(f"{path}.shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled")


def _check_names(spec: Obj, path: str) -> Errors:
    labels = ("hostname", "subdomain")
    subdomains = ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName")
    for key in labels:
        if spec.get(key):
            yield from each_invalid(f"{path}.{key}", spec[key], dns_label_problems(spec[key]))
    for key in subdomains:
        if spec.get(key):
            yield from each_invalid(f"{path}.{key}", spec[key], dns_subdomain_problems(spec[key]))
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            yield required(f"{path}.imagePullSecrets[{index}].name")


def _check_dns(spec: Obj, path: str) -> Errors:
    config = spec.get("dnsConfig") or {}
    servers = config.get("nameservers") or []
    if spec.get("dnsPolicy") == "None":
        if not spec.get("dnsConfig"):
            yield required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
        elif not servers:
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield required(f"{path}.dnsConfig.nameservers", detail)
    if len(servers) > 3:
        yield invalid(f"{path}.dnsConfig.nameservers", servers, "must not have more than 3 nameservers")
    for index, server in enumerate(servers):
        yield from check_ip(f"{path}.dnsConfig.nameservers[{index}]", server)
    searches = config.get("searches") or []
    if len(searches) > 32:
        yield invalid(f"{path}.dnsConfig.searches", searches, "must not have more than 32 search paths")
    for index, search in enumerate(searches):
        # A lone dot and a final dot are accepted; underscores too since 1.32 (KEP-4427).
        name = search.removesuffix(".").replace("_", "x") if search != "." else "root"
        yield from each_invalid(f"{path}.dnsConfig.searches[{index}]", search, dns_subdomain_problems(name))
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            yield required(f"{path}.dnsConfig.options[{index}].name", "must not be empty")


def _check_volumes(volumes: list[Obj], path: str, names: dict[str, None]) -> Errors:
    for index, volume in enumerate(volumes):
        name, where = volume.get("name") or "", f"{path}[{index}]"
        if not name:
            yield required(f"{where}.name")
        else:
            yield from each_invalid(f"{where}.name", name, dns_label_problems(name))
        if name in names:
            yield duplicate(f"{where}.name", name)
        names[name] = None
        sources = [key for key, value in volume.items() if key != "name" and value is not None]
        if not sources:
            yield required(where, "must specify a volume type")
        for extra in sources[1:]:
            yield forbidden(f"{where}.{extra}", "may not specify more than 1 volume type")
        yield from _check_source(volume, where)


def _check_source(volume: Obj, where: str) -> Errors:
    if volume.get("secret") is not None and not volume["secret"].get("secretName"):
        yield required(f"{where}.secret.secretName")
    if volume.get("configMap") is not None and not volume["configMap"].get("name"):
        yield required(f"{where}.configMap.name")
    if volume.get("hostPath") is not None and not volume["hostPath"].get("path"):
        yield required(f"{where}.hostPath.path")
    if volume.get("persistentVolumeClaim") is not None and not volume["persistentVolumeClaim"].get("claimName"):
        yield required(f"{where}.persistentVolumeClaim.claimName")
    for key in ("secret", "configMap"):
        for index, item in enumerate((volume.get(key) or {}).get("items") or ()):
            yield from _check_item(item, f"{where}.{key}.items[{index}]")


def _check_item(item: Obj, path: str) -> Errors:
    if not item.get("key"):
        yield required(f"{path}.key")
    file = item.get("path") or ""
    if not file:
        yield required(f"{path}.path")
    elif file.startswith("/"):
        yield invalid(f"{path}.path", file, "must be a relative path")
    elif ".." in file.split("/"):
        yield invalid(f"{path}.path", file, "must not contain '..'")


def _check_toleration(toleration: Obj, path: str) -> Errors:
    key, operator = toleration.get("key") or "", toleration.get("operator") or ""
    if key:
        yield from each_invalid(f"{path}.key", key, qualified_name_problems(key))
    elif operator != "Exists":
        yield invalid(
            f"{path}.operator",
            operator,
            'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        )
    if operator == "Exists" and toleration.get("value"):
        yield invalid(f"{path}.operator", toleration, "value must be empty when `operator` is 'Exists'")
    if operator not in ("", "Equal", "Exists", "Gt", "Lt"):
        yield not_supported(f"{path}.operator", operator, ("Equal", "Exists"))
    effect = toleration.get("effect") or ""
    if effect and effect not in EFFECTS:
        yield not_supported(f"{path}.effect", effect, EFFECTS)
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield invalid(f"{path}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")


def _check_update(spec: Obj, old: Obj) -> Errors:
    """Most of a pod is fixed when it is created; the values of the few open fields are copied before comparing."""
    before, after = old.get("containers") or [], spec.get("containers") or []
    if len(before) != len(after):
        yield forbidden("spec.containers", "pod updates may not add or remove containers")
        return
    if len(old.get("initContainers") or []) != len(spec.get("initContainers") or []):
        yield forbidden("spec.initContainers", "pod updates may not add or remove containers")
        return
    yield from _check_deadline(spec.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds"))
    new_tolerations, old_tolerations = spec.get("tolerations") or [], old.get("tolerations") or []
    if any(_without_seconds(t) not in map(_without_seconds, new_tolerations) for t in old_tolerations):
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    open_fields: Container[str] = (
        "containers",
        "initContainers",
        "activeDeadlineSeconds",
        "tolerations",
    )
    grace_open = (old.get("terminationGracePeriodSeconds") or 0) < 0
    changed = {
        key
        for key in spec.keys() | old.keys()
        if (spec.get(key) or None) != (old.get(key) or None)
        and key not in open_fields
        and not (key == "terminationGracePeriodSeconds" and grace_open)
        and not (key == "schedulingGates" and _only_removed(spec, old))
    }
    for key in ("containers", "initContainers"):
        pairs = zip(spec.get(key) or [], old.get(key) or [], strict=True)
        if any(_without_image(a) != _without_image(b) for a, b in pairs):
            changed.add(key)
    if changed:
        yield forbidden("spec", f"{_UPDATE_DETAIL}; changed: {', '.join(sorted(changed))}")


def _check_deadline(new: int | None, old: int | None) -> Errors:
    if old is None or new == old:
        return
    path = "spec.activeDeadlineSeconds"
    if new is None:
        yield from immutable(path, new, old)
    elif new > old:
        yield invalid(path, new, "must be less than or equal to previous value")


def _without_image(container: Obj) -> Obj:
    return {key: value for key, value in container.items() if key not in ("image", "resources") and value}


def _without_seconds(toleration: Obj) -> Obj:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _only_removed(spec: Obj, old: Obj) -> bool:
    return all(gate in (old.get("schedulingGates") or ()) for gate in spec.get("schedulingGates") or ())
