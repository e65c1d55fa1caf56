"""``trace FROM TO``: from the name to the answer.

Names resolve as the pod's resolver does it (search list, ndots, over a DNS Service that policies may forbid), then
:func:`podwire.explain.flow.walk` follows the connection.

Of a name with addresses of both families a program takes the one that glibc's getaddrinfo puts first: IPv6 where the
source has an IPv6 address (RFC 3484 section 2.1, glibc's table; ``podwire trace`` shows which). Programs that try both
at once or in another order (Happy Eyeballs, musl and Go prefer IPv4 to fd00::/8) are not simulated: ask for
``[ADDRESS]:PORT`` to see the other way.
"""

import msgspec

from podwire.base import Origin
from podwire.explain.flow import is_address, walk
from podwire.explain.steps import Branch, Hop, Party, Target, Trace
from podwire.explain.world import World
from podwire.plan import Record, find_host

DNS_PORT = 53


def trace(world: World, source: Party, target: Target, *, assumptions: tuple[str, ...] = ()) -> Trace:
    """Why a request of ``source`` to ``target`` does or does not arrive."""
    if is_address(target.host):
        hops, branches = walk(world, source, target)
        return Trace(source, target, hops, branches, assumptions)
    resolved = _resolve_for_pod(world, source, target) if source.pod else _resolve_for_host(world, source, target)
    hops, address, ended = resolved
    if ended is not None:
        return Trace(source, target, hops, (ended,), assumptions)
    reached = msgspec.structs.replace(target, host=address, authority=target.authority or target.host)
    way, branches = walk(world, source, reached)
    return Trace(source, target, (*hops, *way), branches, assumptions)


def resolve(world: World, source: Party, target: Target) -> Target | None:
    """The target with the address its name resolves to from ``source``; None when it does not resolve."""
    if is_address(target.host):
        return target
    find = _resolve_for_pod if source.pod else _resolve_for_host
    _, address, ended = find(world, source, target)
    return msgspec.structs.replace(target, host=address) if ended is None else None


Resolved = tuple[tuple[Hop, ...], str, Branch | None]


def _resolve_for_host(world: World, source: Party, target: Target) -> Resolved:
    """The host does not use cluster DNS: a name that an Ingress serves is sent there, as ``curl --resolve`` would."""
    for proxy in world.plans.routes.proxies.values():
        host = find_host(proxy, target.host)
        address = _proxy_address(world, proxy.key)
        if host is not None and host.host != "*" and address:
            origins = tuple(r.origin for r in host.routes[:1])
            text = f"{target.host} is served by {proxy.key} at {address} (as with curl --resolve)"
            return (Hop("dns", "allowed", text, origins),), address, None
    hop = Hop("dns", "unknown", f"{target.host}: the host's own resolver decides, and no Ingress serves this name")
    return (hop,), "", Branch("", None, (), "unknown")


def _proxy_address(world: World, proxy: str) -> str:
    namespace = proxy.partition("/")[0]
    for unit in world.plans.services.ports.values():
        if unit.service.namespace == namespace and unit.load_balancer_ips:
            return unit.load_balancer_ips[0]
    return ""


def _resolve_for_pod(world: World, source: Party, target: Target) -> Resolved:
    runtime = world.runtime(source.pod)
    servers, searches, ndots = parse_resolv_conf(runtime.resolv_conf if runtime else "")
    listed = [address for address, names in (runtime.hosts if runtime else ()) if target.host in names]
    if listed:
        return (Hop("dns", "allowed", f"{target.host} is in the pod's hosts file"),), prefer(source, listed)[0], None
    blocked = _dns_blocked(world, source, servers)
    if blocked is not None:
        return blocked, "", Branch("", None, (), "servfail")
    candidates = candidate_names(target.host, searches, ndots)
    for step, name in enumerate(candidates):
        answer = world.zone.resolve(name, "A")
        records = [*answer.records, *world.zone.resolve(name, "AAAA").records]
        addresses = prefer(source, [r.data for r in records if r.type in ("A", "AAAA")])
        if addresses:
            first = tuple(r for r in records if r.type == "CNAME" or (":" in r.data) == (":" in addresses[0]))
            step_text = f"search step {step + 1} of {len(candidates)}"
            return _answered(target, name, first, addresses, step=step_text)
        # A single label leaves the cluster last of all and is nobody's name out there.
        if answer.source == "upstream" and step == len(candidates) - 1 and "." in name:
            hop = Hop("dns", "unknown", f"{name}: {answer.why}; an upstream resolver decides", _origins(answer.records))
            return (hop,), "", Branch("", None, (), "unknown")
    return _no_such_name(target, candidates)


def prefer(source: Party, addresses: list[str]) -> list[str]:
    """In the order in which a program in ``source`` tries them: IPv6 first, but last what it has no address for."""
    own = {":" in address for address in source.addresses}
    return sorted(addresses, key=lambda a: ((":" in a) not in own, ":" not in a))


def _answered(target: Target, name: str, records: tuple[Record, ...], addresses: list[str], *, step: str) -> Resolved:
    more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
    rtype = "AAAA" if ":" in addresses[0] else "A"
    text = f"{target.host} -> {name} {rtype} {addresses[0]}{more} ({step})"
    return (Hop("dns", "allowed", text, _origins(records)),), addresses[0], None


def _no_such_name(target: Target, candidates: tuple[str, ...]) -> Resolved:
    tried = ", ".join(candidates)
    hop = Hop("dns", "denied", f"{target.host}: no such name (tried {tried})", code="PW1210")
    return (hop,), "", Branch("", None, (), "nxdomain")


def _origins(records: tuple[Record, ...]) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys(r.origin for r in records))


def _dns_blocked(world: World, source: Party, servers: tuple[str, ...]) -> tuple[Hop, ...] | None:
    """The query itself is a connection that policies decide about (PW1207)."""
    if not servers or not any(servers[0] in (u[0]) for u in world.units_by_virtual):
        return None
    hops, branches = walk(world, source, Target(servers[0], DNS_PORT, "UDP"))
    if any(b.verdict != "denied" for b in branches):
        return None
    inner = [hop for hop in (*hops, *(branches[0].hops if branches else ())) if hop.verdict == "denied"]
    why = inner[-1] if inner else Hop("dns", "denied", "DNS does not answer")
    text = f"the query to {servers[0]}:53/UDP does not arrive: {why.text}"
    return (Hop("dns", "denied", text, why.origins, "PW1207"),)


def parse_resolv_conf(text: str) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Nameservers, search list and ndots of a resolv.conf (resolv.conf(5))."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    ndots = 1
    for line in text.splitlines():
        words = line.split()
        match words[:1]:
            case ["nameserver"]:
                servers.extend(words[1:2])
            case ["search"]:
                searches = tuple(words[1:])
            case ["options"]:
                ndots = next((int(w[6:]) for w in words if w.startswith("ndots:") and w[6:].isdigit()), ndots)
    return tuple(servers), searches, ndots


def candidate_names(name: str, searches: tuple[str, ...], ndots: int) -> tuple[str, ...]:
    """The names a resolver asks for, in order (resolv.conf(5), ndots)."""
    if name.endswith("."):
        return (name.rstrip("."),)
    searched = tuple(f"{name}.{domain}" for domain in searches)
    return (name, *searched) if name.count(".") >= ndots else (*searched, name)
