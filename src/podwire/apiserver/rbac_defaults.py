"""The roles and bindings every cluster has.

The roles of Kubernetes' own control loops (``system:controller:*``) are not here: those loops do not run here.
Rules are written as ``groups / resources / verbs``; groups and resources are separated by spaces, ``core`` is the
empty group.

Spec: k8s plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go.
"""

from typing import Any

Json = dict[str, Any]

_API = "rbac.authorization.k8s.io"
_READ = "get list watch"
_WRITE = "create delete deletecollection patch update"
_WORKLOADS = "daemonsets deployments deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"
_DISCOVERY = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"
_EVENTS = "core events.k8s.io / events / create patch update"

_VIEW = (
    "core / configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers"
    f" replicationcontrollers/scale serviceaccounts services services/status / {_READ}",
    "core / bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status"
    f" resourcequotas resourcequotas/status / {_READ}",
    f"core / namespaces / {_READ}",
    f"discovery.k8s.io / endpointslices / {_READ}",
    f"apps / controllerrevisions daemonsets/status deployments/status replicasets/status statefulsets/status"
    f" {_WORKLOADS} / {_READ}",
    f"autoscaling / horizontalpodautoscalers horizontalpodautoscalers/status / {_READ}",
    f"batch / cronjobs cronjobs/status jobs jobs/status / {_READ}",
    f"policy / poddisruptionbudgets poddisruptionbudgets/status / {_READ}",
    f"networking.k8s.io / ingresses ingresses/status networkpolicies / {_READ}",
    "metrics.k8s.io / nodes pods / get list watch",
)
_EDIT = (
    f"core / pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy / {_READ}",
    "core / serviceaccounts / impersonate",
    f"core / pods pods/attach pods/exec pods/portforward pods/proxy / {_WRITE}",
    "core / pods/eviction / create",
    "core / configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets"
    f" serviceaccounts services services/proxy / {_WRITE}",
    "core / serviceaccounts/token / create",
    f"apps / deployments/rollback {_WORKLOADS} / {_WRITE}",
    f"autoscaling / horizontalpodautoscalers / {_WRITE}",
    f"batch / cronjobs jobs / {_WRITE}",
    f"policy / poddisruptionbudgets / {_WRITE}",
    f"networking.k8s.io / ingresses networkpolicies / {_WRITE}",
    f"coordination.k8s.io / leases / {_WRITE} {_READ}",
)
_ADMIN = (
    "authorization.k8s.io / localsubjectaccessreviews / create",
    f"{_API} / rolebindings roles / {_WRITE} {_READ}",
)
_ROLES: dict[str, tuple[str, ...]] = {
    "cluster-admin": ("* / * / *", "* *"),
    "system:aggregate-to-admin": _ADMIN,
    "system:aggregate-to-edit": _EDIT,
    "system:aggregate-to-view": _VIEW,
    "system:auth-delegator": (
        "authentication.k8s.io / tokenreviews / create",
        "authorization.k8s.io / subjectaccessreviews / create",
    ),
    "system:basic-user": (
        "authorization.k8s.io / selfsubjectaccessreviews selfsubjectrulesreviews / create",
        "authentication.k8s.io / selfsubjectreviews / create",
    ),
    "system:discovery": (f"{_DISCOVERY} get",),
    "system:kube-dns": ("core / endpoints services / list watch",),
    "system:monitoring": ("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* get",),
    "system:node-proxier": (
        "core / endpoints services / list watch",
        f"core / nodes / {_READ}",
        _EVENTS,
        "discovery.k8s.io / endpointslices / list watch",
        "networking.k8s.io / servicecidrs / list watch",
    ),
    "system:public-info-viewer": ("/healthz /livez /readyz /version /version/ get",),
    "system:service-account-issuer-discovery": (
        "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/ get",
    ),
}
_AGGREGATED = ("view", "edit", "admin")
"""In this order each finds the one before complete."""
_AGGREGATES = {
    "edit": "admin",
    "view": "edit",
    "system:aggregate-to-admin": "admin",
    "system:aggregate-to-edit": "edit",
    "system:aggregate-to-view": "view",
}
_LABEL = f"{_API}/aggregate-to-"
_BINDINGS: dict[str, tuple[str, ...]] = {
    "cluster-admin": ("Group system:masters",),
    "system:basic-user": ("Group system:authenticated",),
    "system:discovery": ("Group system:authenticated",),
    "system:monitoring": ("Group system:monitoring",),
    "system:node-proxier": ("User system:kube-proxy",),
    "system:public-info-viewer": ("Group system:authenticated", "Group system:unauthenticated"),
    "system:service-account-issuer-discovery": ("Group system:serviceaccounts",),
}


def default_objects() -> list[Json]:
    """ClusterRoles and ClusterRoleBindings, roles first."""
    roles = [_role(name, [_rule(text) for text in rules]) for name, rules in _ROLES.items()]
    aggregated = [_role(name, [], aggregated=True) for name in _AGGREGATED]
    return [*roles, *aggregated, *(_binding(name, who) for name, who in _BINDINGS.items())]


def _rule(text: str) -> Json:
    parts = [part.split() for part in text.split(" / ")]
    if len(parts) == 3:
        groups = ["" if group == "core" else group for group in parts[0]]
        return {"apiGroups": groups, "resources": sorted(parts[1]), "verbs": sorted(parts[2])}
    *paths, verb = parts[0]
    return {"nonResourceURLs": paths, "verbs": [verb]}


def _meta(name: str, labels: Json) -> Json:
    notes = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
    return {"name": name, "annotations": notes, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **labels}}


def _role(name: str, rules: list[Json], *, aggregated: bool = False) -> Json:
    labels = {f"{_LABEL}{_AGGREGATES[name]}": "true"} if name in _AGGREGATES else {}
    role: Json = {"apiVersion": f"{_API}/v1", "kind": "ClusterRole", "metadata": _meta(name, labels)}
    if aggregated:
        selectors = [{"matchLabels": {f"{_LABEL}{name}": "true"}}]
        return role | {"aggregationRule": {"clusterRoleSelectors": selectors}}
    return role | {"rules": rules}


def _binding(name: str, subjects: tuple[str, ...]) -> Json:
    pairs = [word.partition(" ") for word in subjects]
    return {
        "apiVersion": f"{_API}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _meta(name, {}),
        "roleRef": {"apiGroup": _API, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": _API, "kind": kind, "name": who} for kind, _, who in pairs],
    }
