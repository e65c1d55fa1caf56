"""rbac.authorization.k8s.io/v1: Role, ClusterRole, RoleBinding, ClusterRoleBinding."""

from typing import Annotated

from podwire.kube.meta import KubeObject, LabelSelector
from podwire.kube.struct import KubeStruct, api


class PolicyRule(KubeStruct, frozen=True):
    """Verbs on resources, or on paths that are no resources."""

    verbs: Annotated[tuple[str, ...], api(required=True, list_type="atomic")] = ()
    api_groups: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    resources: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    resource_names: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    non_resource_urls: Annotated[tuple[str, ...], api(list_type="atomic")] = ()


class AggregationRule(KubeStruct, frozen=True):
    """Which ClusterRoles a ClusterRole is made of."""

    cluster_role_selectors: Annotated[tuple[LabelSelector, ...], api(list_type="atomic")] = ()


class RoleRef(KubeStruct, frozen=True):
    """The role a binding gives."""

    api_group: Annotated[str, api(required=True)] = ""
    kind: Annotated[str, api(required=True)] = ""
    name: Annotated[str, api(required=True)] = ""


class Subject(KubeStruct, frozen=True):
    """A user, a group or a ServiceAccount."""

    kind: Annotated[str, api(required=True)] = ""
    api_group: str = ""
    name: Annotated[str, api(required=True)] = ""
    namespace: str = ""


class Role(KubeObject, frozen=True):
    """What may be done in a namespace."""

    rules: Annotated[tuple[PolicyRule, ...], api(list_type="atomic")] = ()


class ClusterRole(KubeObject, frozen=True):
    """What may be done everywhere, or in the namespaces it is bound in."""

    rules: Annotated[tuple[PolicyRule, ...], api(list_type="atomic")] = ()
    aggregation_rule: AggregationRule | None = None


class RoleBinding(KubeObject, frozen=True):
    """Gives a role to subjects in a namespace."""

    subjects: Annotated[tuple[Subject, ...], api(list_type="atomic")] = ()
    role_ref: Annotated[RoleRef, api(required=True)] = RoleRef()


class ClusterRoleBinding(KubeObject, frozen=True):
    """Gives a ClusterRole to subjects everywhere."""

    subjects: Annotated[tuple[Subject, ...], api(list_type="atomic")] = ()
    role_ref: Annotated[RoleRef, api(required=True)] = RoleRef()
