"""networking.k8s.io/v1: Ingress, IngressClass, NetworkPolicy."""

from typing import Annotated, Any

from podwire.kube.core import IntOrString, PortStatus
from podwire.kube.meta import Condition, KubeObject, LabelSelector
from podwire.kube.struct import KubeStruct, api


class ServiceBackendPort(KubeStruct, frozen=True):
    """Port of a backend, by name or number."""

    name: str = ""
    number: int = 0


class IngressServiceBackend(KubeStruct, frozen=True):
    """A Service as backend."""

    name: Annotated[str, api(required=True)] = ""
    port: ServiceBackendPort = ServiceBackendPort()


class IngressBackend(KubeStruct, frozen=True):
    """Where requests go."""

    service: IngressServiceBackend | None = None
    resource: dict[str, Any] | None = None


class HTTPIngressPath(KubeStruct, frozen=True):
    """A path and its backend."""

    path: str = ""
    path_type: Annotated[str | None, api(required=True)] = None
    backend: Annotated[IngressBackend, api(required=True)] = IngressBackend()


class HTTPIngressRuleValue(KubeStruct, frozen=True):
    """Paths of a host."""

    paths: Annotated[tuple[HTTPIngressPath, ...], api(required=True, list_type="atomic")] = ()


class IngressRule(KubeStruct, frozen=True):
    """A host and its paths."""

    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(KubeStruct, frozen=True):
    """Hosts served with the certificate of a Secret."""

    hosts: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    secret_name: str = ""


class IngressSpec(KubeStruct, frozen=True):
    """Desired state of an Ingress."""

    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    tls: Annotated[tuple[IngressTLS, ...], api(list_type="atomic")] = ()
    rules: Annotated[tuple[IngressRule, ...], api(list_type="atomic")] = ()


class IngressLoadBalancerIngress(KubeStruct, frozen=True):
    """One ingress point."""

    ip: str = ""
    hostname: str = ""
    ports: Annotated[tuple[PortStatus, ...], api(list_type="atomic")] = ()


class IngressLoadBalancerStatus(KubeStruct, frozen=True):
    """All ingress points."""

    ingress: Annotated[tuple[IngressLoadBalancerIngress, ...], api(list_type="atomic")] = ()


class IngressStatus(KubeStruct, frozen=True):
    """Observed state of an Ingress."""

    load_balancer: IngressLoadBalancerStatus = IngressLoadBalancerStatus()


class Ingress(KubeObject, frozen=True):
    """HTTP routes from outside the cluster to Services."""

    spec: IngressSpec = IngressSpec()
    status: IngressStatus = IngressStatus()


class IngressClassParametersReference(KubeStruct, frozen=True):
    """Parameters of a class."""

    api_group: str | None = None
    kind: Annotated[str, api(required=True)] = ""
    name: Annotated[str, api(required=True)] = ""
    scope: str | None = None
    namespace: str | None = None


class IngressClassSpec(KubeStruct, frozen=True):
    """Desired state of an IngressClass."""

    controller: str = ""
    parameters: IngressClassParametersReference | None = None


class IngressClass(KubeObject, frozen=True):
    """Names the controller of Ingresses."""

    spec: IngressClassSpec = IngressClassSpec()


class IPBlock(KubeStruct, frozen=True):
    """Addresses in ``cidr`` but in none of ``except``."""

    cidr: Annotated[str, api(required=True)] = ""
    except_: Annotated[tuple[str, ...], api(list_type="atomic")] = ()


class NetworkPolicyPort(KubeStruct, frozen=True):
    """A port, a range of ports, or all ports of a protocol."""

    protocol: str | None = None
    port: IntOrString | None = None
    end_port: int | None = None


class NetworkPolicyPeer(KubeStruct, frozen=True):
    """Pods by labels, or addresses."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class NetworkPolicyIngressRule(KubeStruct, frozen=True):
    """Allowed sources and ports."""

    ports: Annotated[tuple[NetworkPolicyPort, ...], api(list_type="atomic")] = ()
    from_: Annotated[tuple[NetworkPolicyPeer, ...], api(list_type="atomic")] = ()


class NetworkPolicyEgressRule(KubeStruct, frozen=True):
    """Allowed destinations and ports."""

    ports: Annotated[tuple[NetworkPolicyPort, ...], api(list_type="atomic")] = ()
    to: Annotated[tuple[NetworkPolicyPeer, ...], api(list_type="atomic")] = ()


class NetworkPolicySpec(KubeStruct, frozen=True):
    """Desired state of a NetworkPolicy."""

    pod_selector: LabelSelector = LabelSelector()
    ingress: Annotated[tuple[NetworkPolicyIngressRule, ...], api(list_type="atomic")] = ()
    egress: Annotated[tuple[NetworkPolicyEgressRule, ...], api(list_type="atomic")] = ()
    policy_types: Annotated[tuple[str, ...], api(list_type="atomic")] = ()


class NetworkPolicy(KubeObject, frozen=True):
    """Which connections the selected pods may make and take."""

    spec: NetworkPolicySpec = NetworkPolicySpec()


class ParentReference(KubeStruct, frozen=True):
    """Whose an address is."""

    group: str = ""
    resource: Annotated[str, api(required=True)] = ""
    namespace: str = ""
    name: Annotated[str, api(required=True)] = ""


class IPAddressSpec(KubeStruct, frozen=True):
    """Desired state of an IPAddress."""

    parent_ref: Annotated[ParentReference | None, api(required=True)] = None


class IPAddress(KubeObject, frozen=True):
    """An address that is taken; its name is the address (S6)."""

    spec: IPAddressSpec = IPAddressSpec()


class ServiceCIDRSpec(KubeStruct, frozen=True):
    """Desired state of a ServiceCIDR."""

    cidrs: Annotated[tuple[str, ...], api(list_type="atomic")] = ()


class ServiceCIDRStatus(KubeStruct, frozen=True):
    """What is known of a ServiceCIDR."""

    conditions: Annotated[tuple[Condition, ...], api(merge_key="type", list_type="map", list_map_keys=("type",))] = ()


class ServiceCIDR(KubeObject, frozen=True):
    """Blocks that Services get their addresses from: one for each family (S7)."""

    spec: ServiceCIDRSpec = ServiceCIDRSpec()
    status: ServiceCIDRStatus = ServiceCIDRStatus()
