"""ConfigMap, Secret, Event, Node, Namespace.

Spec: k8s:pkg/apis/core/validation/validation.go and events.go.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from podwire.kube.names import config_key_problems, label_value_problems, qualified_name_problems
from podwire.kube.validate.addresses import check_cidr
from podwire.kube.validate.errors import (
    Errors,
    duplicate,
    each_invalid,
    forbidden,
    immutable,
    invalid,
    one_of,
    required,
    too_long,
)

Obj = dict[str, Any]

DATA_LIMIT_BYTES = 1024 * 1024

_NEEDED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "kubernetes.io/tls": ("tls.crt", "tls.key"),
        "kubernetes.io/dockercfg": (".dockercfg",),
        "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
        "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    }
)


def check_config_map(obj: Obj, old: Obj | None) -> Errors:
    """Keys, size, immutability."""
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    for name, values in (("data", data), ("binaryData", binary)):
        for key in values:
            yield from each_invalid(f"{name}[{key}]", key, config_key_problems(key))
    for key in data.keys() & binary.keys():
        yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    if sum(len(value.encode()) for value in data.values()) + sum(map(_size, binary.values())) > DATA_LIMIT_BYTES:
        yield too_long("", DATA_LIMIT_BYTES)
    yield from _check_frozen(obj, old, ("data", "binaryData"))


def check_secret(obj: Obj, old: Obj | None) -> Errors:
    """Keys, base64, what each type needs, immutability."""
    data = obj.get("data") or {}
    for key, value in data.items():
        yield from each_invalid(f"data[{key}]", key, config_key_problems(key))
        if not _is_base64(value):
            yield invalid(f"data[{key}]", "<secret contents redacted>", "must be base64 encoded")
    if sum(map(_size, data.values())) > DATA_LIMIT_BYTES:
        yield too_long("data", DATA_LIMIT_BYTES)
    kind = obj.get("type") or ""
    for key in _NEEDED.get(kind, ()):
        if key not in data:
            yield required(f"data[{key}]")
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        yield required("data[username]")
        yield required("data[password]")
    if kind == "kubernetes.io/service-account-token":
        annotations = (obj.get("metadata") or {}).get("annotations") or {}
        if not annotations.get("kubernetes.io/service-account.name"):
            yield required("metadata.annotations[kubernetes.io/service-account.name]")
    if old is not None:
        yield from immutable("type", kind, old.get("type") or "")
    yield from _check_frozen(obj, old, ("data",))


def _check_frozen(obj: Obj, old: Obj | None, keys: tuple[str, ...]) -> Errors:
    if old is None or not old.get("immutable"):
        return
    if not obj.get("immutable"):
        yield forbidden("immutable", "field is immutable when `immutable` is set")
    for key in keys:
        if (obj.get(key) or {}) != (old.get(key) or {}):
            yield forbidden(key, "field is immutable when `immutable` is set")


def _is_base64(value: str) -> bool:
    try:
        b64decode("".join(value.split()), validate=True)
    except (Base64Error, ValueError):
        return False
    return True


def _size(value: str) -> int:
    return len(value) * 3 // 4


def check_event(obj: Obj, old: Obj | None) -> Errors:
    """The namespace must be that of the object the event is about (default for cluster-scoped ones)."""
    del old
    about = obj.get("involvedObject") or {}
    namespace = (obj.get("metadata") or {}).get("namespace") or ""
    if about.get("namespace"):
        if about["namespace"] != namespace:
            yield invalid("involvedObject.namespace", about["namespace"], "does not match event.namespace")
    elif about.get("kind") and namespace not in ("", "default", "kube-system"):
        yield invalid("involvedObject.namespace", "", "does not match event.namespace")


def check_node(obj: Obj, old: Obj | None) -> Errors:
    """Taints and pod CIDRs; a CIDR is given once."""
    spec = obj.get("spec") or {}
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        path, key, effect = f"spec.taints[{index}]", taint.get("key") or "", taint.get("effect") or ""
        yield from each_invalid(f"{path}.key", key, qualified_name_problems(key))
        yield from each_invalid(
            f"{path}.value", taint.get("value") or "", label_value_problems(taint.get("value") or "")
        )
        yield from one_of(f"{path}.effect", effect, ("NoExecute", "NoSchedule", "PreferNoSchedule"))
        if (key, effect) in seen:
            yield duplicate(path, taint)
        seen.add((key, effect))
    for index, text in enumerate(spec.get("podCIDRs") or ()):
        yield from check_cidr(f"spec.podCIDRs[{index}]", text)
    before = ((old or {}).get("spec") or {}).get("podCIDRs")
    if before and spec.get("podCIDRs") != before:
        yield forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')


def check_namespace(obj: Obj, old: Obj | None) -> Errors:
    """Finalizers are qualified names."""
    del old
    for name in (obj.get("spec") or {}).get("finalizers") or ():
        if name != "kubernetes":
            yield from each_invalid("spec.finalizers", name, qualified_name_problems(name))
            if "/" not in name:
                detail = "name is neither a standard finalizer name nor is it fully qualified"
                yield invalid("spec.finalizers", name, detail)
