"""The one table of kinds.

Discovery, OpenAPI, printer columns, field selectors, RBAC verbs and documentation derive from a kind's row.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from podwire.kube.admissionregistration import (
    MutatingWebhookConfiguration,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
    ValidatingWebhookConfiguration,
)
from podwire.kube.apps import ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet
from podwire.kube.autoscaling import HorizontalPodAutoscaler
from podwire.kube.batch import CronJob, Job
from podwire.kube.clusterpolicy import ClusterNetworkPolicy
from podwire.kube.core import ConfigMap, Endpoints, Event, Namespace, Node, Secret, Service, ServiceAccount
from podwire.kube.crd import CustomResourceDefinition
from podwire.kube.discovery import EndpointSlice
from podwire.kube.leases import Lease
from podwire.kube.limits import LimitRange, ResourceQuota
from podwire.kube.meta import KubeObject
from podwire.kube.networking import Ingress, IngressClass, IPAddress, NetworkPolicy, ServiceCIDR
from podwire.kube.pods import Pod
from podwire.kube.policy import PodDisruptionBudget
from podwire.kube.rbac import ClusterRole, ClusterRoleBinding, Role, RoleBinding
from podwire.kube.scheduling import PriorityClass
from podwire.kube.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from podwire.kube.superseded import AdminNetworkPolicy, BaselineAdminNetworkPolicy

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class Kind(msgspec.Struct, frozen=True):
    """One row: how a kind is named, scoped and typed."""

    name: str
    group: str
    version: str
    plural: str
    type: type[KubeObject]
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    storage: str = ""
    """Under what name objects are stored, when it is not the kind's (dynamic kinds, second groups)."""

    @property
    def api_version(self) -> str:
        """``v1`` or ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def stored(self) -> str:
        """The name objects are stored under."""
        return self.storage or self.name

    @property
    def singular(self) -> str:
        """Lower-case kind."""
        return self.name.lower()


_ROWS = (
    Kind("Namespace", "", "v1", "namespaces", Namespace, False, ("ns",), (), ("status", "finalize")),
    Kind("Node", "", "v1", "nodes", Node, False, ("no",), (), ("status",)),
    Kind(
        "Pod",
        "",
        "v1",
        "pods",
        Pod,
        True,
        ("po",),
        ("all",),
        ("status", "binding", "log", "exec", "attach", "portforward", "proxy", "ephemeralcontainers", "eviction"),
    ),
    Kind("Service", "", "v1", "services", Service, True, ("svc",), ("all",), ("status", "proxy")),
    Kind("Endpoints", "", "v1", "endpoints", Endpoints, True, ("ep",)),
    Kind("ConfigMap", "", "v1", "configmaps", ConfigMap, True, ("cm",)),
    Kind("Secret", "", "v1", "secrets", Secret),
    Kind("ServiceAccount", "", "v1", "serviceaccounts", ServiceAccount, True, ("sa",), (), ("token",)),
    Kind("LimitRange", "", "v1", "limitranges", LimitRange, True, ("limits",)),
    Kind("ResourceQuota", "", "v1", "resourcequotas", ResourceQuota, True, ("quota",), (), ("status",)),
    Kind("Event", "", "v1", "events", Event, True, ("ev",)),
    Kind(
        "PersistentVolumeClaim",
        "",
        "v1",
        "persistentvolumeclaims",
        PersistentVolumeClaim,
        True,
        ("pvc",),
        (),
        ("status",),
    ),
    Kind("PersistentVolume", "", "v1", "persistentvolumes", PersistentVolume, False, ("pv",), (), ("status",)),
    Kind("StorageClass", "storage.k8s.io", "v1", "storageclasses", StorageClass, False, ("sc",)),
    Kind(
        "Deployment",
        "apps",
        "v1",
        "deployments",
        Deployment,
        True,
        ("deploy",),
        ("all",),
        ("status", "scale"),
    ),
    Kind("ReplicaSet", "apps", "v1", "replicasets", ReplicaSet, True, ("rs",), ("all",), ("status", "scale")),
    Kind(
        "StatefulSet",
        "apps",
        "v1",
        "statefulsets",
        StatefulSet,
        True,
        ("sts",),
        ("all",),
        ("status", "scale"),
    ),
    Kind("DaemonSet", "apps", "v1", "daemonsets", DaemonSet, True, ("ds",), ("all",), ("status",)),
    Kind("ControllerRevision", "apps", "v1", "controllerrevisions", ControllerRevision),
    Kind("Job", "batch", "v1", "jobs", Job, True, (), ("all",), ("status",)),
    Kind("CronJob", "batch", "v1", "cronjobs", CronJob, True, ("cj",), ("all",), ("status",)),
    Kind(
        "HorizontalPodAutoscaler",
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        HorizontalPodAutoscaler,
        True,
        ("hpa",),
        ("all",),
        ("status",),
    ),
    Kind(
        "PodDisruptionBudget",
        "policy",
        "v1",
        "poddisruptionbudgets",
        PodDisruptionBudget,
        True,
        ("pdb",),
        (),
        ("status",),
    ),
    Kind("PriorityClass", "scheduling.k8s.io", "v1", "priorityclasses", PriorityClass, False, ("pc",)),
    Kind("ClusterRole", "rbac.authorization.k8s.io", "v1", "clusterroles", ClusterRole, False),
    Kind("ClusterRoleBinding", "rbac.authorization.k8s.io", "v1", "clusterrolebindings", ClusterRoleBinding, False),
    Kind("Role", "rbac.authorization.k8s.io", "v1", "roles", Role),
    Kind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings", RoleBinding),
    Kind(
        "CustomResourceDefinition",
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        CustomResourceDefinition,
        False,
        ("crd", "crds"),
        ("api-extensions",),
        ("status",),
    ),
    Kind(
        "ValidatingAdmissionPolicy",
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
        ValidatingAdmissionPolicy,
        False,
        (),
        ("api-extensions",),
        ("status",),
    ),
    Kind(
        "ValidatingAdmissionPolicyBinding",
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        ValidatingAdmissionPolicyBinding,
        False,
        (),
        ("api-extensions",),
    ),
    Kind(
        "MutatingWebhookConfiguration",
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        MutatingWebhookConfiguration,
        False,
        (),
        ("api-extensions",),
    ),
    Kind(
        "ValidatingWebhookConfiguration",
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        ValidatingWebhookConfiguration,
        False,
        (),
        ("api-extensions",),
    ),
    Kind("Lease", "coordination.k8s.io", "v1", "leases", Lease),
    Kind("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices", EndpointSlice),
    Kind("Ingress", "networking.k8s.io", "v1", "ingresses", Ingress, True, ("ing",), (), ("status",)),
    Kind("IngressClass", "networking.k8s.io", "v1", "ingressclasses", IngressClass, False),
    Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies", NetworkPolicy, True, ("netpol",)),
    Kind("IPAddress", "networking.k8s.io", "v1", "ipaddresses", IPAddress, False, ("ip",)),
    Kind("ServiceCIDR", "networking.k8s.io", "v1", "servicecidrs", ServiceCIDR, False, (), (), ("status",)),
    Kind(
        "ClusterNetworkPolicy",
        "policy.networking.k8s.io",
        "v1alpha2",
        "clusternetworkpolicies",
        ClusterNetworkPolicy,
        False,
        ("cnp",),
        (),
        ("status",),
    ),
    Kind(
        "AdminNetworkPolicy",
        "policy.networking.k8s.io",
        "v1alpha1",
        "adminnetworkpolicies",
        AdminNetworkPolicy,
        False,
        ("anp",),
    ),
    Kind(
        "BaselineAdminNetworkPolicy",
        "policy.networking.k8s.io",
        "v1alpha1",
        "baselineadminnetworkpolicies",
        BaselineAdminNetworkPolicy,
        False,
        ("banp",),
    ),
)

KINDS: Mapping[str, Kind] = MappingProxyType({row.name: row for row in _ROWS})
"""Every kind podwire owns, by kind name."""


def parse(value: dict[str, Any]) -> KubeObject:
    """The typed object of a JSON value. Raises :class:`msgspec.ValidationError` naming the path, and
    :class:`KeyError` for a kind podwire does not own."""
    kind = KINDS[value["kind"]]
    return msgspec.convert(value, kind.type)
