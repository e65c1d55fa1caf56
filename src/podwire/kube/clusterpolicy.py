"""policy.networking.k8s.io/v1alpha2: ClusterNetworkPolicy.

Spec: network-policy-api apis/v1alpha2/clusternetworkpolicy_types.go.
"""

from typing import Annotated

from podwire.kube.meta import Condition, KubeObject, LabelSelector
from podwire.kube.struct import KubeStruct, api


class NamespacedPod(KubeStruct, frozen=True):
    """Pods by the labels of their namespaces and their own."""

    namespace_selector: LabelSelector = LabelSelector()
    pod_selector: LabelSelector = LabelSelector()


class ClusterNetworkPolicySubject(KubeStruct, frozen=True):
    """Whom the policy is about: exactly one is set."""

    namespaces: LabelSelector | None = None
    pods: NamespacedPod | None = None


class PortRange(KubeStruct, frozen=True):
    """Ports from ``start`` to ``end``, both included."""

    start: int = 0
    end: int = 0


class PolicyPort(KubeStruct, frozen=True):
    """One port or a range: exactly one is set."""

    number: int | None = None
    range: PortRange | None = None


class ProtocolPorts(KubeStruct, frozen=True):
    """Ports of one protocol; all of them without ``destinationPort``."""

    destination_port: PolicyPort | None = None


class ClusterNetworkPolicyProtocol(KubeStruct, frozen=True):
    """A protocol with its ports, or a port by name: exactly one is set."""

    tcp: ProtocolPorts | None = None
    udp: ProtocolPorts | None = None
    sctp: ProtocolPorts | None = None
    destination_named_port: str = ""


class ClusterNetworkPolicyIngressPeer(KubeStruct, frozen=True):
    """Sources: exactly one is set."""

    namespaces: LabelSelector | None = None
    pods: NamespacedPod | None = None


class ClusterNetworkPolicyEgressPeer(KubeStruct, frozen=True):
    """Destinations: exactly one is set."""

    namespaces: LabelSelector | None = None
    pods: NamespacedPod | None = None
    nodes: LabelSelector | None = None
    networks: Annotated[tuple[str, ...], api(list_type="set")] = ()
    domain_names: Annotated[tuple[str, ...], api(list_type="set")] = ()


class ClusterNetworkPolicyIngressRule(KubeStruct, frozen=True):
    """What happens to connections from ``from``."""

    name: str = ""
    action: str = ""
    from_: Annotated[tuple[ClusterNetworkPolicyIngressPeer, ...], api(list_type="atomic")] = ()
    protocols: Annotated[tuple[ClusterNetworkPolicyProtocol, ...], api(list_type="atomic")] = ()


class ClusterNetworkPolicyEgressRule(KubeStruct, frozen=True):
    """What happens to connections to ``to``."""

    name: str = ""
    action: str = ""
    to: Annotated[tuple[ClusterNetworkPolicyEgressPeer, ...], api(list_type="atomic")] = ()
    protocols: Annotated[tuple[ClusterNetworkPolicyProtocol, ...], api(list_type="atomic")] = ()


class ClusterNetworkPolicySpec(KubeStruct, frozen=True):
    """Tier, priority (lower first), subject, and rules in the order they are tried."""

    tier: str = ""
    priority: Annotated[int, api(required=True)] = 0
    subject: ClusterNetworkPolicySubject = ClusterNetworkPolicySubject()
    ingress: Annotated[tuple[ClusterNetworkPolicyIngressRule, ...], api(list_type="atomic")] = ()
    egress: Annotated[tuple[ClusterNetworkPolicyEgressRule, ...], api(list_type="atomic")] = ()


class ClusterNetworkPolicyStatus(KubeStruct, frozen=True):
    """Conditions only."""

    conditions: Annotated[tuple[Condition, ...], api(merge_key="type", list_type="map", list_map_keys=("type",))] = ()


class ClusterNetworkPolicy(KubeObject, frozen=True):
    """Rules of the cluster's administrator, before (Admin) or after (Baseline) NetworkPolicies."""

    spec: ClusterNetworkPolicySpec = ClusterNetworkPolicySpec()
    status: ClusterNetworkPolicyStatus = ClusterNetworkPolicyStatus()
