"""Plans to the kernel tables of every node.

:class:`Renderer` keeps what it rendered, so that an unchanged plan unit costs an identity check; :func:`render_node`
is the same without memory. Pure.
"""

from collections.abc import Mapping, Sequence

from podwire.base import Cidr
from podwire.plan import PolicyPlan, ServiceNode, ServicePlan
from podwire.planes.nft.render_policy import PolicyRenderer
from podwire.planes.nft.render_services import ServiceRenderer
from podwire.planes.nft.rules import format_policy, format_services
from podwire.planes.nft.sysctls import render_sysctls
from podwire.planes.nft.tables import FAMILIES, IP, Family, NftPlan, NodeTables

_NOWHERE = {4: "255.255.255.255", 6: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}


class Renderer:
    """Renders one plan after another for all nodes in it."""

    def __init__(self) -> None:
        """Nothing rendered yet."""
        self._families: tuple[Family, ...] = ()
        self._services = ServiceRenderer(())
        self._policy = PolicyRenderer(())

    @property
    def list_numbers(self) -> Mapping[str, int]:
        """See :attr:`ServiceRenderer.numbers`; of the plan rendered last."""
        return self._services.numbers

    def render(self, plan: NftPlan) -> dict[str, NodeTables]:
        """The tables of every node of ``plan``, by node name."""
        families = families_of(plan.services)
        if families != self._families:  # other rules anyway: every node is loaded anew
            self._families = families
            self._services, self._policy = ServiceRenderer(families), PolicyRenderer(families)
        sysctls = render_sysctls(plan.services.proxy.conntrack)
        services = self._services.render(plan.services)
        policy = self._policy.render(plan.policy, plan.services.nodes)
        return {
            name: NodeTables(
                node=name,
                rules={
                    "services": "".join(_services_rules(family, plan.services, node) for family in families),
                    "policy": "".join(map(format_policy, families)),
                },
                services=services[name],
                policy=policy[name],
                addresses=node.addresses,
                draw=plan.services.proxy.draw,
                sysctls=sysctls,
                families=families,
            )
            for name, node in plan.services.nodes.items()
        }


def families_of(plan: ServicePlan) -> tuple[Family, ...]:
    """The families the cluster routes: those of its blocks and nodes. Without any, IPv4."""
    cidrs = (*plan.cluster_cidrs, *plan.service_cidrs, *(c for n in plan.nodes.values() for c in n.pod_cidrs))
    numbers = {c.family for c in cidrs}
    addresses = [a for node in plan.nodes.values() for a in node.addresses]
    found = tuple(f for f in FAMILIES if f.number in numbers or any(map(f.has, addresses)))
    return found or (IP,)


def render_node(services: ServicePlan, policy: PolicyPlan, node: str) -> NodeTables:
    """The tables of one node, from nothing."""
    return Renderer().render(NftPlan(services, policy))[node]


def _services_rules(family: Family, plan: ServicePlan, node: ServiceNode) -> str:
    return format_services(
        family,
        snat=next(filter(family.has, node.addresses), ""),
        pods=_blocks(family, plan.cluster_cidrs),
        services=_blocks(family, plan.service_cidrs),
        local=_blocks(family, node.pod_cidrs) if plan.proxy.local_by_node else "",
    )


def _blocks(family: Family, cidrs: Sequence[Cidr]) -> str:
    """An nft expression for the blocks of a family; without any, an address nobody has."""
    texts = [str(c) for c in cidrs if c.family == family.number] or [_NOWHERE[family.number]]
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"
