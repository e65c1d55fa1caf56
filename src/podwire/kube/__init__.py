"""What Kubernetes objects mean: types, schema, defaults, validation, selectors, and one registry row per kind.

Pure. Types are frozen structs whose attributes are the API's field names in snake case (``struct.py``). The API
server stores plain JSON values; the compiler works on these types.
"""

from podwire.kube.apps import Deployment, ReplicaSet, StatefulSet
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
from podwire.kube.meta import (
    KubeObject,
    LabelSelector,
    LabelSelectorRequirement,
    ObjectMeta,
    OwnerReference,
    selects,
)
from podwire.kube.networking import Ingress, IngressClass, NetworkPolicy
from podwire.kube.pods import Container, Pod, PodSpec, PodTemplateSpec
from podwire.kube.registry import KINDS, Kind, parse

__all__ = [
    "KINDS",
    "ConfigMap",
    "Container",
    "Deployment",
    "EndpointSlice",
    "Endpoints",
    "Event",
    "Ingress",
    "IngressClass",
    "Kind",
    "KubeObject",
    "LabelSelector",
    "LabelSelectorRequirement",
    "Namespace",
    "NetworkPolicy",
    "Node",
    "ObjectMeta",
    "OwnerReference",
    "Pod",
    "PodSpec",
    "PodTemplateSpec",
    "ReplicaSet",
    "Secret",
    "Service",
    "ServiceAccount",
    "ServicePort",
    "StatefulSet",
    "parse",
    "selects",
]
