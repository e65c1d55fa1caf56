"""The load balancer outside of the nodes: which node a connection to one of its addresses enters by.

Rules:

1. It passes packets through: the address stays the destination, the client stays the source, and the node answers the
   client directly (what clouds call pass-through, or direct server return). What the node does then is its own rules'.
2. A new connection goes to any node whose health check passes, at random; what was begun stays with its node, also when
   that one leaves the rotation, until the node itself is gone.
3. Rules are constant. An address has :data:`SLOTS` elements however many nodes there are; all of them are replaced
   in one transaction when anything changes.
4. An address none of whose nodes is healthy answers nothing.

Marks are turned into next hops by :mod:`podwire.node.fabric`. Layout: ``docs/design/services.md``.
"""

import asyncio
from collections.abc import Iterable

from podwire.base import PodwireError
from podwire.plan import NodePlan, PlaneFact, Report
from podwire.plan.node import ExternalRoute, edge_mark, edge_netns
from podwire.planes.nft.netns import identify_netns
from podwire.planes.nft.nftlib import Session, load_library, open_session

SLOTS = 60
"""So many that one to six nodes get exactly equal shares; of more than sixty, sixty share, as clouds take subsets."""
_RETRY_SECONDS = 0.2
_FLOW = "ip saddr . th sport . ip daddr . th dport"
_RULES = f"""\
add table ip podwire-edge
delete table ip podwire-edge
table ip podwire-edge {{
  set addresses {{        # of load balancers with a healthy node
    type ipv4_addr
  }}
  set closed {{           # of load balancers without one
    type ipv4_addr
  }}
  map members {{          # address . slot -> node
    type ipv4_addr . mark : mark
  }}
  set nodes {{
    type mark
  }}
  map flows {{            # client . port . address . port -> node
    type ipv4_addr . inet_service . ipv4_addr . inet_service : mark
    flags dynamic,timeout
    size 65535
  }}
  chain draw {{
    meta mark set numgen random mod {SLOTS}
    meta mark set ip daddr . meta mark map @members
  }}
  chain enter {{
    type filter hook prerouting priority mangle; policy accept;
    ip daddr @closed drop
    ip daddr != @addresses return
    meta mark set 0
    meta l4proto {{ tcp, udp, sctp }} meta mark set {_FLOW} map @flows
    meta mark != @nodes jump draw
    meta l4proto {{ tcp, udp, sctp }} update @flows {{ {_FLOW} timeout 600s : meta mark }}
  }}
}}
"""


def render_edge(plan: NodePlan) -> str:
    """The elements as they are to be, replacing all there were; flows stay."""
    routes = sorted(r for r in plan.routes.values() if r.entries is not None)
    spread = [r for r in routes if _entries(plan, r)]
    lines = [f"flush {kind} ip podwire-edge {name}" for kind, name in _PARTS]
    lines += _add("nodes", (f"0x{edge_mark(node):x}" for node in plan.nodes.values()))
    lines += _add("closed", (r.address for r in routes if not _entries(plan, r)))
    lines += _add("addresses", (r.address for r in spread))
    lines += _add("members", (element for r in spread for element in _slots(plan, r)))
    return "\n".join(lines) + "\n"


_PARTS = (("set", "addresses"), ("set", "closed"), ("set", "nodes"), ("map", "members"))


def _entries(plan: NodePlan, route: ExternalRoute) -> list[str]:
    return [name for name in route.entries or () if name in plan.nodes]


def _slots(plan: NodePlan, route: ExternalRoute) -> Iterable[str]:
    names = _entries(plan, route)
    for slot in range(SLOTS):
        yield f"{route.address} . 0x{slot:x} : 0x{edge_mark(plan.nodes[names[slot % len(names)]]):x}"


def _add(name: str, elements: Iterable[str]) -> list[str]:
    text = ", ".join(elements)
    return [f"add element ip podwire-edge {name} {{ {text} }}"] if text else []


class EdgeDriver:
    """Executes the routes of a :class:`NodePlan` with an edge (a :class:`podwire.plan.Driver`)."""

    def __init__(self, report: Report, *, cluster: str) -> None:
        """Nothing is loaded before the first plan that has an edge."""
        self._report = report
        self._netns = edge_netns(cluster)
        self._session: Session | None = None
        self._loaded = ""
        self._wanted = ""
        self._retry: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def apply(self, plan: NodePlan) -> None:
        """Make it so; while the namespace is not there yet, in the background."""
        if not plan.edge:
            return
        self._wanted = await asyncio.to_thread(render_edge, plan)
        if not await self._load_in_turn() and self._retry is None:
            self._retry = asyncio.create_task(self._load_later(), name="edge-retry")

    async def _load_later(self) -> None:
        loaded = False
        while not loaded:
            await asyncio.sleep(_RETRY_SECONDS)
            try:
                loaded = await self._load_in_turn()
            except PodwireError as error:
                self._report("edge", PlaneFact(ready=False, message=str(error)))
        self._retry = None

    async def _load_in_turn(self) -> bool:
        """One at a time: the session is one conversation with the kernel. Facts are told from the loop's own thread."""
        async with self._turn:
            loaded = await asyncio.to_thread(self._load)
        if loaded:
            self._report("edge", PlaneFact(ready=True))
        return loaded

    def _load(self) -> bool:
        """False while there is no namespace. Raises :class:`PodwireError` with the kernel's words."""
        wanted = self._wanted
        if wanted == self._loaded:
            return True
        if identify_netns(self._netns) is None:
            return False
        rules = ""
        if self._session is None:
            library = load_library()
            self._session, rules = open_session(library, self._netns), _RULES
        words = self._session.run(rules + wanted)
        if words:
            self._session.close()
            self._session = None
            raise PodwireError(f"the load balancer cannot be loaded: {words}")
        self._loaded = wanted
        return True

    async def close(self) -> None:
        """Forget it; the namespace goes with the wires."""
        if self._retry is not None:
            self._retry.cancel()
            await asyncio.gather(self._retry, return_exceptions=True)
        if self._session is not None:
            self._session.close()
        self._session, self._loaded = None, ""
