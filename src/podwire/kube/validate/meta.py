"""Metadata, labels and selectors of every object.

Spec: apimachinery pkg/api/validation/objectmeta.go and pkg/apis/meta/v1/validation.
"""

from collections.abc import Callable, Mapping
from typing import Any

from podwire.kube.names import (
    dns_label_problems,
    dns_subdomain_problems,
    label_key_problems,
    label_value_problems,
    path_segment_problems,
    qualified_name_problems,
)
from podwire.kube.validate.addresses import ip_problems, parse_ip
from podwire.kube.validate.errors import Errors, each_invalid, forbidden, immutable, invalid, required, too_long

Obj = dict[str, Any]

ANNOTATIONS_LIMIT_BYTES = 256 * 1024

_LABEL_NAMES = frozenset({"Namespace", "Service", "StatefulSet"})
"""Kinds whose name is a DNS label: it becomes one label of a DNS name (S1)."""

_PATH_NAMES = frozenset({"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"})
"""Kinds whose name only has to fit in a URL: ``system:node``."""

_BARE_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def name_problems(kind_name: str) -> Callable[[str], list[str]]:
    """The syntax of a kind's names."""
    if kind_name == "IPAddress":
        return _canonical_problems
    if kind_name in _PATH_NAMES:
        return path_segment_problems
    return dns_label_problems if kind_name in _LABEL_NAMES else dns_subdomain_problems


def _canonical_problems(name: str) -> list[str]:
    problems = ip_problems(name)
    if not problems and str(parse_ip(name)) != name:
        return [f'must be in canonical form ("{parse_ip(name)}")']
    return problems


def check_meta(meta: Obj, *, kind_name: str, namespaced: bool) -> Errors:
    """``metadata`` of an object about to be stored."""
    name = meta.get("name") or ""
    if meta.get("generateName"):
        yield from _generate_name(kind_name, meta["generateName"])
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        yield from each_invalid("metadata.name", name, name_problems(kind_name)(name))
    yield from _namespace(meta.get("namespace") or "", namespaced)
    yield from check_labels(meta.get("labels"), "metadata.labels")
    yield from _annotations(meta.get("annotations") or {}, "metadata.annotations")
    yield from _owners(meta.get("ownerReferences") or [])
    yield from _finalizers(meta.get("finalizers") or [])


def check_template_meta(meta: Obj, path: str) -> Errors:
    """Labels and annotations of a pod template."""
    yield from check_labels(meta.get("labels"), f"{path}.labels")
    yield from _annotations(meta.get("annotations") or {}, f"{path}.annotations")


def check_meta_update(meta: Obj, old: Obj) -> Errors:
    """What an update may not change."""
    for key in ("name", "namespace", "uid", "creationTimestamp"):
        if meta.get(key):
            yield from immutable(f"metadata.{key}", meta[key], old.get(key))
    if old.get("deletionTimestamp"):
        added = [item for item in meta.get("finalizers") or () if item not in (old.get("finalizers") or ())]
        if added:
            yield forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{', '.join(_quoted(item) for item in added)}}}",
            )


def _quoted(text: str) -> str:
    return f'"{text}"'


def _generate_name(kind_name: str, prefix: str) -> Errors:
    # The prefix may end in "-": five characters follow.
    return each_invalid("metadata.generateName", prefix, name_problems(kind_name)(prefix.rstrip("-") or prefix))


def _namespace(namespace: str, namespaced: bool) -> Errors:
    if not namespaced:
        if namespace:
            yield forbidden("metadata.namespace", "not allowed on this type")
    elif not namespace:
        yield required("metadata.namespace")
    else:
        yield from each_invalid("metadata.namespace", namespace, dns_label_problems(namespace))


def check_labels(labels: Mapping[str, str] | None, path: str) -> Errors:
    """Keys and values; the key names the error, as the path has none."""
    for key, value in (labels or {}).items():
        yield from each_invalid(path, key, label_key_problems(key))
        yield from each_invalid(path, value, label_value_problems(value))


def _annotations(annotations: Mapping[str, str], path: str) -> Errors:
    for key in annotations:
        # Upper case is tolerated in the prefix of annotation keys.
        yield from each_invalid(path, key, qualified_name_problems(key.lower()))
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATIONS_LIMIT_BYTES:
        yield too_long(path, ANNOTATIONS_LIMIT_BYTES)


def _owners(owners: list[Obj]) -> Errors:
    controllers = []
    for owner in owners:
        path = "metadata.ownerReferences"
        for key, shown in (("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")):
            if not owner.get(key):
                yield invalid(f"{path}.{key}", owner.get(key, ""), f"{shown} must not be empty")
        if owner.get("controller"):
            controllers.append(owner.get("name", ""))
    if len(controllers) > 1:
        yield invalid(
            "metadata.ownerReferences",
            owners,
            'Only one reference can have Controller set to true. Found "true" in references for '
            f"{controllers[0]} and {controllers[1]}",
        )


def _finalizers(finalizers: list[str]) -> Errors:
    for name in finalizers:
        yield from each_invalid("metadata.finalizers", name, qualified_name_problems(name))
        if "/" not in name and name not in _BARE_FINALIZERS:
            yield invalid(
                "metadata.finalizers", name, "name is neither a standard finalizer name nor is it fully qualified"
            )
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        yield invalid(
            "metadata.finalizers",
            finalizers,
            "finalizer orphan and foregroundDeletion cannot be both set",
        )


def check_selector(selector: Obj | None, path: str) -> Errors:
    """A label selector with matchLabels and matchExpressions."""
    if not selector:
        return
    for key, value in (selector.get("matchLabels") or {}).items():
        yield from each_invalid(f"{path}.matchLabels", key, label_key_problems(key))
        yield from each_invalid(f"{path}.matchLabels", value, label_value_problems(value))
    for index, item in enumerate(selector.get("matchExpressions") or ()):
        yield from _requirement(item, f"{path}.matchExpressions[{index}]")


def _requirement(item: Obj, path: str) -> Errors:
    operator, values = item.get("operator") or "", item.get("values") or []
    if operator in ("In", "NotIn") and not values:
        yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist") and values:
        yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif operator not in _OPERATORS:
        yield invalid(f"{path}.operator", operator, "not a valid selector operator")
    key = item.get("key") or ""
    yield from each_invalid(f"{path}.key", key, label_key_problems(key))
    for index, value in enumerate(values):
        yield from each_invalid(f"{path}.values[{index}]", value, label_value_problems(value))
