"""Roles and bindings.

Spec: k8s:pkg/apis/rbac/validation/validation.go, pkg/apis/rbac/v1/defaults.go.
"""

from typing import Any

from podwire.kube.names import dns_subdomain_problems, path_segment_problems
from podwire.kube.validate.errors import Errors, each_invalid, forbidden, invalid, not_supported, required
from podwire.kube.validate.meta import check_selector

Obj = dict[str, Any]

GROUP = "rbac.authorization.k8s.io"


def check_role(obj: Obj, old: Obj | None) -> Errors:
    """Rules, and the selectors of an aggregated role."""
    namespaced = obj["kind"] == "Role"
    for index, rule in enumerate(obj.get("rules") or ()):
        yield from _rule(rule, f"rules[{index}]", namespaced=namespaced)
    aggregation = obj.get("aggregationRule")
    if aggregation is not None:
        path, why = "aggregationRule.clusterRoleSelectors", "at least one clusterRoleSelector required"
        if not aggregation.get("clusterRoleSelectors"):
            yield required(path, f"{why} if aggregationRule is non-nil")
        for index, selector in enumerate(aggregation.get("clusterRoleSelectors") or ()):
            yield from check_selector(selector, f"{path}[{index}]")


def _rule(rule: Obj, path: str, *, namespaced: bool) -> Errors:
    if not rule.get("verbs"):
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    if rule.get("nonResourceURLs"):
        if namespaced:
            shown = rule["nonResourceURLs"]
            yield invalid(f"{path}.nonResourceURLs", shown, "namespaced rules cannot apply to non-resource URLs")
        if any(rule.get(field) for field in ("apiGroups", "resources", "resourceNames")):
            shown = rule["nonResourceURLs"]
            yield invalid(
                f"{path}.nonResourceURLs", shown, "rules cannot apply to both regular resources and non-resource URLs"
            )
        return
    if not rule.get("apiGroups"):
        yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


def check_role_binding(obj: Obj, old: Obj | None) -> Errors:
    """The role and the subjects; the role never changes."""
    reference = obj.get("roleRef") or {}
    if reference.get("apiGroup") != GROUP:
        yield not_supported("roleRef.apiGroup", reference.get("apiGroup") or "", (GROUP,))
    kinds = ("ClusterRole",) if obj["kind"] == "ClusterRoleBinding" else ("ClusterRole", "Role")
    if reference.get("kind") not in kinds:
        yield not_supported("roleRef.kind", reference.get("kind") or "", kinds)
    if not reference.get("name"):
        yield required("roleRef.name")
    else:
        yield from each_invalid("roleRef.name", reference["name"], path_segment_problems(reference["name"]))
    if old is not None and old.get("roleRef") != reference:
        yield from immutable_role(reference)
    for index, subject in enumerate(obj.get("subjects") or ()):
        yield from _subject(subject, f"subjects[{index}]", cluster=obj["kind"] == "ClusterRoleBinding")


def immutable_role(reference: Obj) -> Errors:
    """A binding gives the same role for ever."""
    yield invalid("roleRef", reference, "cannot change roleRef")


def _subject(subject: Obj, path: str, *, cluster: bool) -> Errors:
    name, group = subject.get("name") or "", subject.get("apiGroup") or ""
    if not name:
        yield required(f"{path}.name")
    match subject.get("kind"):
        case "ServiceAccount":
            yield from each_invalid(f"{path}.name", name, dns_subdomain_problems(name) if name else [])
            if group:
                yield not_supported(f"{path}.apiGroup", group, ("",))
            if cluster and not subject.get("namespace"):
                yield required(f"{path}.namespace")
        case "User" | "Group":
            if group != GROUP:
                yield not_supported(f"{path}.apiGroup", group, (GROUP,))
            if subject.get("namespace"):
                yield forbidden(f"{path}.namespace", "must not be set for a user or group")
        case kind:
            yield not_supported(f"{path}.kind", kind or "", ("ServiceAccount", "User", "Group"))
