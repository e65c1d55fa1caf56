"""``dns NAME --from POD``: every query the pod's resolver sends, each answer, the object behind it, and the fix.

Rules:

1. The resolver is glibc's: the hosts file first; then for each candidate name (search list, ndots) A and AAAA, until
   one has an address. NODATA goes on as NXDOMAIN does; musl would stop there, which is noted.
2. An answer is the DNS server's own (:class:`NameServer`), so ``rewrite``, ``template``, ``acl``, ``dns64``,
   ``autopath``, ``view`` and ``hosts`` are followed as they act; without one it is the plan's
   (:class:`podwire.plan.ZoneIndex`), after the plugin ``hosts``. Names that leave the cluster are unknown here: an
   upstream resolver decides.
3. A policy that blocks port 53 blocks everything (PW1207).

Source: resolv.conf(5), nsswitch.conf(5); coredns:plugin.cfg for the order of plugins.
"""

from collections.abc import Iterator
from typing import Literal, Protocol

import msgspec

from podwire.base import Origin
from podwire.explain.names_fixes import Fix, find_fixes
from podwire.explain.steps import Hop, Party
from podwire.explain.trace import _dns_blocked, candidate_names, parse_resolv_conf
from podwire.explain.world import World
from podwire.plan import Answer
from podwire.plan.dnsconfig import Hosts, ServerBlock, zone_holds

TYPES = ("A", "AAAA")
CHANGING = ("rewrite", "template", "acl", "dns64", "autopath")


class Reply(Protocol):
    """What a name server says: ``answers`` are ``TYPE data``, ``trail`` what its plugins did, ``plugins`` which these
    are; ``upstream``: the end is an upstream's business; ``asked`` is the name it came to."""

    @property
    def rcode(self) -> str: ...
    @property
    def answers(self) -> tuple[str, ...]: ...
    @property
    def trail(self) -> tuple[str, ...]: ...
    @property
    def plugins(self) -> tuple[str, ...]: ...
    @property
    def upstream(self) -> bool: ...
    @property
    def asked(self) -> str: ...


class NameServer(Protocol):
    """The DNS server, asked in thought."""

    def ask(self, name: str, rtype: str, client: str) -> Reply:
        """The reply to a client's question."""
        ...


class Question(msgspec.Struct, frozen=True):
    """One query on the wire and what comes back. ``step`` counts candidate names from 1."""

    step: int
    name: str
    type: str
    rcode: str
    answers: tuple[str, ...]
    source: str
    """``zone``, ``upstream``, or ``NAME plugin``."""
    why: str
    origins: tuple[Origin, ...] = ()

    @property
    def found(self) -> bool:
        """Whether the resolver gets what it asked for."""
        return any(a.split(" ", 1)[0] == self.type for a in self.answers)


class Lookup(msgspec.Struct, frozen=True):
    """The whole look-up of one name."""

    name: str
    pod: str
    servers: tuple[str, ...]
    searches: tuple[str, ...]
    ndots: int
    verdict: Literal["found", "not found", "blocked", "unknown"]
    addresses: tuple[str, ...]
    questions: tuple[Question, ...]
    blocked: tuple[Hop, ...] = ()
    hosts_file: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()


def look_up(world: World, source: Party, name: str, server: NameServer | None = None) -> Lookup:
    """What happens when a program in the pod ``source`` asks for ``name``."""
    runtime = world.runtime(source.pod)
    servers, searches, ndots = parse_resolv_conf(runtime.resolv_conf if runtime else "")
    lowered = name.lower()
    listed = tuple(a for a, names in (runtime.hosts if runtime else ()) if lowered.rstrip(".") in names)
    base = Lookup(name, source.name, servers, searches, ndots, "found", listed, (), hosts_file=listed)
    if listed:
        return base
    blocked = _dns_blocked(world, source, servers)
    if blocked is not None:
        by_policy = any(o.ref.kind.endswith("NetworkPolicy") for hop in blocked for o in hop.origins)
        text = "allow UDP and TCP 53 to pods k8s-app=kube-dns of namespace kube-system"
        fix = Fix("PW1207", text if by_policy else "cluster DNS does not answer: make the pods of kube-dns ready")
        return msgspec.structs.replace(base, verdict="blocked", blocked=blocked, fixes=(fix,))
    if not servers or servers[0] != world.snapshot.settings.dns_address:
        return _elsewhere(base)
    asking = _Asking(world, server, source.addresses[0] if source.addresses else "")
    questions = tuple(_ask(asking, candidate_names(lowered, searches, ndots)))
    addresses = tuple(a.rpartition(" ")[2] for q in questions for a in q.answers if a.startswith(f"{q.type} "))
    last = questions[-1].step if questions else 0
    outside = any(q.source == "upstream" and "." in q.name for q in questions if q.step == last)
    verdict: Literal["found", "not found", "unknown"] = "found" if addresses else "unknown" if outside else "not found"
    fixes = () if addresses else tuple(find_fixes(world, source, lowered, outside=outside))
    notes = tuple(_notes(asking, questions, ndots=ndots, mistaken=bool(fixes)))
    return msgspec.structs.replace(
        base, verdict=verdict, addresses=addresses, questions=questions, notes=notes, fixes=fixes
    )


def _elsewhere(base: Lookup) -> Lookup:
    """The pod does not ask cluster DNS."""
    who = f"asks {base.servers[0]}" if base.servers else "has no name server"
    note = f"the pod {who}, not cluster DNS (dnsPolicy Default or None): names of the cluster do not resolve there"
    return msgspec.structs.replace(base, verdict="unknown" if base.servers else "not found", notes=(note,))


class _Asking(msgspec.Struct, frozen=True):
    """Who is asked by whom."""

    world: World
    server: NameServer | None
    client: str


def _ask(asking: _Asking, candidates: tuple[str, ...]) -> Iterator[Question]:
    for step, name in enumerate(candidates, 1):
        pair = tuple(_answer(asking, step, name, rtype) for rtype in TYPES)
        yield from pair
        if any(q.found for q in pair):
            return


def _answer(asking: _Asking, step: int, name: str, rtype: str) -> Question:
    world = asking.world
    if asking.server is not None:
        reply = asking.server.ask(name, rtype, asking.client)
        if set(reply.plugins) - {"hosts"}:
            return _from_server(world, step, name, rtype, reply)
    listed = _from_hosts(world, step, name, rtype)
    if listed is not None:
        return listed
    found: Answer = world.zone.resolve(name, rtype)
    answers = tuple(f"{r.type} {r.data}" for r in found.records)
    origins = tuple(dict.fromkeys(r.origin for r in found.records))
    rcode = found.rcode
    if rcode == "NOERROR" and not answers and found.source == "zone":
        return Question(step, name, rtype, "NODATA", (), "zone", found.why)
    shown = "?" if found.source == "upstream" else rcode
    return Question(step, name, rtype, shown, answers, found.source, found.why, origins)


def _from_server(world: World, step: int, name: str, rtype: str, reply: Reply) -> Question:
    """An answer that plugins had a hand in: what each did, the objects behind it, and the Corefile."""
    block = block_of(world, name)
    behind = world.zone.resolve(reply.asked, rtype).records
    origins = tuple(dict.fromkeys((*(r.origin for r in behind), *([block.origin] if block is not None else []))))
    trail = "; ".join(reply.trail)
    if reply.upstream:
        return Question(step, name, rtype, "?", (), "upstream", f"{trail}; an upstream resolver decides", origins)
    rcode = "NODATA" if reply.rcode == "NOERROR" and not reply.answers else reply.rcode
    return Question(step, name, rtype, rcode, reply.answers, f"{reply.plugins[-1]} plugin", trail, origins)


def block_of(world: World, name: str) -> ServerBlock | None:
    """The server block that takes a question."""
    config = world.plans.zone.config
    holders = [(len(zone), b) for b in config.blocks for zone in b.zones if zone_holds(zone, name)]
    return max(holders, key=lambda pair: pair[0])[1] if holders else None


def _from_hosts(world: World, step: int, name: str, rtype: str) -> Question | None:
    """What the plugin ``hosts`` says, which acts before ``kubernetes``; None when the next plugin decides."""
    block = block_of(world, name)
    plugin = next((p for p in block.plugins if isinstance(p, Hosts)), None) if block else None
    if block is None or plugin is None or not any(zone_holds(z, name) for z in plugin.zones):
        return None
    wild = f"*.{name.partition('.')[2]}"
    exact = [a for a, names in plugin.entries if name in names]
    addresses = exact or [a for a, names in plugin.entries if wild in names]
    if addresses:
        wanted = tuple(f"{rtype} {a}" for a in addresses if (":" in a) == (rtype == "AAAA"))
        rcode, why = "NOERROR" if wanted else "NODATA", "the plugin hosts of the Corefile lists this name"
        return Question(step, name, rtype, rcode, wanted, "hosts plugin", why, (block.origin,))
    through = plugin.fallthrough
    if through is not None and (not through or any(zone_holds(z, name) for z in through)):
        return None
    why = "the plugin hosts holds this zone, does not list the name, and has no fallthrough"
    return Question(step, name, rtype, "NXDOMAIN", (), "hosts plugin", why, (block.origin,))


def _notes(asking: _Asking, questions: tuple[Question, ...], *, ndots: int, mistaken: bool) -> Iterator[str]:
    count = sum(1 for q in questions if q.source == "zone" and q.rcode == "NXDOMAIN")
    best = next((q.name for q in questions if q.found or (q.source == "upstream" and "." in q.name)), "")
    if count and best and not mistaken:
        wasted = f"{count} of {len(questions)} queries are for names of the search list (ndots:{ndots})"
        yield f"{wasted}; {best}. saves them"
    if any(q.rcode == "NODATA" and not _pair_found(questions, q) for q in questions):
        yield "musl (Alpine) ends its search at the first answer without addresses; glibc goes on"
    if asking.server is not None:
        return
    blocks = [b for b in (block_of(asking.world, q.name) for q in questions) if b is not None]
    plugins = {type(p).__struct_config__.tag for b in blocks for p in b.plugins}
    for kind in CHANGING:
        if kind in plugins:
            yield f"the Corefile's plugin {kind} may change this; it is not followed here"


def _pair_found(questions: tuple[Question, ...], question: Question) -> bool:
    return any(q.found for q in questions if q.step == question.step)
