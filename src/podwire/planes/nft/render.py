"""Plans to the kernel tables of every node.

:class:`Renderer` keeps what it rendered, so that an unchanged plan unit costs an identity check; :func:`render_node`
is the same without memory. Pure.
"""

from collections.abc import Sequence

from podwire.base import Cidr
from podwire.plan import PolicyPlan, ServiceNode, ServicePlan
from podwire.planes.nft.render_policy import PolicyRenderer
from podwire.planes.nft.render_services import ServiceRenderer, is_ipv4
from podwire.planes.nft.rules import format_rules
from podwire.planes.nft.tables import NftPlan, NodeTables

_NOWHERE = "255.255.255.255"


class Renderer:
    """Renders one plan after another for all nodes in it."""

    def __init__(self) -> None:
        """Nothing rendered yet."""
        self._services = ServiceRenderer()
        self._policy = PolicyRenderer()

    def render(self, plan: NftPlan) -> dict[str, NodeTables]:
        """The tables of every node of ``plan``, by node name."""
        services = self._services.render(plan.services)
        policy = self._policy.render(plan.policy, plan.services.nodes)
        return {
            name: NodeTables(
                node=name,
                rules=_rules(plan.services, node),
                services=services[name][0],
                policy=policy[name][0],
                services_delta=services[name][1],
                policy_delta=policy[name][1],
                addresses=tuple(a for a in node.addresses if is_ipv4(a)),
            )
            for name, node in plan.services.nodes.items()
        }


def render_node(services: ServicePlan, policy: PolicyPlan, node: str) -> NodeTables:
    """The tables of one node, from nothing."""
    return Renderer().render(NftPlan(services, policy))[node]


def _rules(plan: ServicePlan, node: ServiceNode) -> str:
    own = next(filter(is_ipv4, node.addresses), "")
    return format_rules(snat=own, pods=_blocks(plan.cluster_cidrs), services=_blocks(plan.service_cidrs))


def _blocks(cidrs: Sequence[Cidr]) -> str:
    """An nft expression for the IPv4 blocks; without any, an address nobody has."""
    texts = [str(c) for c in cidrs if c.family == 4] or [_NOWHERE]
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"
