"""What Kubernetes objects mean: types, schema, defaults, validation, selectors, and one registry row per kind.

Pure. Types are frozen structs whose attributes are the API's field names in snake case (``struct.py``). The API
server stores plain JSON values; the compiler works on these types.

Importing this package loads the types only. What the API server and the reader of manifests need is in modules that
load on first use: ``schema`` and ``decode`` (types of JSON values), ``defaults``, ``validate``, ``columns``, ``fields``
and ``selectors``, ``scale``, ``openapi``, ``manifest``.
"""

from podwire.kube.apps import ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet
from podwire.kube.batch import CronJob, Job
from podwire.kube.core import (
    ConfigMap,
    Endpoints,
    Event,
    Namespace,
    Node,
    Secret,
    Service,
    ServiceAccount,
    ServicePort,
)
from podwire.kube.discovery import EndpointSlice
from podwire.kube.leases import Lease
from podwire.kube.meta import (
    KubeObject,
    LabelSelector,
    LabelSelectorRequirement,
    ObjectMeta,
    OwnerReference,
    selects,
)
from podwire.kube.networking import Ingress, IngressClass, NetworkPolicy, ServiceCIDR
from podwire.kube.pods import Container, Pod, PodSpec, PodTemplateSpec
from podwire.kube.policy import PodDisruptionBudget
from podwire.kube.registry import KINDS, Kind, parse
from podwire.kube.scheduling import PriorityClass
from podwire.kube.storage import PersistentVolume, PersistentVolumeClaim, StorageClass

__all__ = [
    "KINDS",
    "ConfigMap",
    "Container",
    "ControllerRevision",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "EndpointSlice",
    "Endpoints",
    "Event",
    "Ingress",
    "IngressClass",
    "Job",
    "Kind",
    "KubeObject",
    "LabelSelector",
    "LabelSelectorRequirement",
    "Lease",
    "Namespace",
    "NetworkPolicy",
    "Node",
    "ObjectMeta",
    "OwnerReference",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "PodSpec",
    "PodTemplateSpec",
    "PriorityClass",
    "ReplicaSet",
    "Secret",
    "Service",
    "ServiceAccount",
    "ServiceCIDR",
    "ServicePort",
    "StatefulSet",
    "StorageClass",
    "parse",
    "selects",
]
