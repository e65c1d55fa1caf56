"""One connection, from its source to what the client observes, over the plans the drivers execute.

The order is the packet's: NAT on the node where the packet first meets a Service rule, egress policy of the source on
its node, masquerade on leaving that node, ingress policy of the destination on its node, then the listener and, behind
a proxy, the route and a second connection.

Rules (services P1 to P19, network policy N12, N16 to N18):

1. A pod's packet meets the rules of its own node. NodePorts match only on addresses of the node the packet is on, so a
   pod's packet to another node's NodePort leaves its node unchanged and is translated there.
2. From inside the cluster, external addresses and NodePorts short-circuit to Cluster semantics (P6).
3. With Cluster policy a connection by NodePort, load balancer or external address is masqueraded when it leaves the
   translating node; a destination on that same node still sees the client (the policy hook runs before masquerade).
4. A node is inside for its own NodePorts and for virtual addresses, which it translates itself. Another node's
   NodePort sees it as a foreign address: external. What comes back to it from there is no longer its own traffic.
5. The host reaches load balancer addresses and NodePorts through nodes; it has no route to pods or cluster IPs.
6. A port of a node that a pod has (hostPort) is translated on that node, as a NodePort is, and hides nobody.
7. A pod that sends to its own address stays inside the pod; by a Service it meets its own policies (N16).
8. A load balancer outside of the nodes passes packets through to any node whose health check passes, which then does
   what it does without one. Only the host meets it: inside the cluster addresses are short-circuited before.
9. A connection has one family: that of the address it is opened to. Services, masquerade and policies decide with the
   addresses of that family; who has none cannot even send (PW6032).
"""

from ipaddress import ip_address

import msgspec

from podwire.base import Origin, Ref, join_port
from podwire.explain.balance import describe_balance
from podwire.explain.misses import explain_misses
from podwire.explain.steps import Branch, Hop, Party, Target
from podwire.explain.world import World, same_family
from podwire.plan import (
    Direction,
    Endpoint,
    ProxyPlan,
    Scope,
    ServicePort,
    Upstream,
    admits_source,
    decide_backends,
    decide_policy,
    decide_route,
    node,
)

MAX_PROXIES = 4
HOST_ROUTES = "the host has no route into the cluster, its own routing table decides about"


class _Leg(msgspec.Struct, frozen=True):
    """A connection after translation: where it was translated, and the source address seen from there on."""

    source: Party
    address: str
    port: int
    protocol: str
    target: Target
    translated_on: str = ""
    masquerade: bool = False
    hidden: bool = False
    depth: int = 0


def walk(world: World, source: Party, target: Target) -> tuple[tuple[Hop, ...], tuple[Branch, ...]]:
    """Common hops, then one branch per backend. ``target.host`` must be an address."""
    leg = _Leg(source, target.host, target.port, target.protocol, target)
    if not same_family(source.addresses, target.host) and not ip_address(target.host).is_loopback:
        family = "IPv6" if ":" in target.host else "IPv4"
        return (), (_ends(leg, "no-route", f"{source.name} has no {family} address", "PW6032"),)
    found = _enter(world, leg)
    if isinstance(found, Branch):
        return (), (found,)
    unit, scope, entries, before = found
    if unit is None:
        return before, (_deliver(world, leg, ()),)
    ways = [_through_service(world, leg, unit, scope=scope, entry=entry, before=before) for entry in entries]
    if len(ways) == 1:
        return ways[0]
    # The load balancer chooses the node: the same endpoint by two nodes is two branches, with other source addresses.
    nodes = [Hop("edge", "allowed", f"enters by node {entry}") for entry in entries]
    return before, tuple(
        msgspec.structs.replace(branch, hops=(node, *branch.hops))
        for node, (_, branches) in zip(nodes, ways, strict=True)
        for branch in branches
    )


Entry = tuple[ServicePort | None, Scope, tuple[str, ...], tuple[Hop, ...]]
"""The unit, how the connection reaches it, the nodes it may be translated on, and the hops so far."""


def _enter(world: World, leg: _Leg) -> Entry | Branch:
    """Find the Service rule that meets the packet first, or None when none does; a Branch when it ends here."""
    source, address = leg.source, leg.address
    inside = source.pod is not None or bool(source.node)
    unit = world.units_by_virtual.get((address, leg.protocol, leg.port))
    at_node = world.nodes_by_address.get(address)
    if unit is not None:
        return _enter_virtual(world, leg, unit, inside=inside)
    here = at_node or ("" if source.pod else source.node)  # a node's own programs reach its loopback
    host = world.units_by_host_port.get((here, address, leg.protocol, leg.port))
    if host is not None:
        text = f"hostPort {leg.port}/{leg.protocol} of {here} is {host.service.key}'s"
        return host, "internal", (here,), (Hop("service", "allowed", text, (host.origin,), evidence="computed"),)
    by_port = world.units_by_node_port.get((":" in address, leg.protocol, leg.port))
    if at_node and by_port is not None:
        if address not in world.node_port_addresses:
            why = f"nodePortAddresses of kube-proxy's configuration leave {address} out"
            return _ends(leg, "refused", why, "PW1144", Origin(by_port.service))
        hop = _service_hop(by_port, f"NodePort {leg.port} on {at_node}", "nodePort")
        by_node = world.plans.services.proxy.local_by_node
        short = source.node == at_node or (source.pod is not None and not by_node)
        return by_port, ("shortcut" if short else "external"), (at_node,), (hop,)
    if address in world.virtual_addresses:
        if not inside and (closed := _closed(world, leg)) is not None:
            return closed
        if not inside and address in world.virtual_addresses[address].cluster_ips:
            return _ends(leg, "unknown", f"{HOST_ROUTES} cluster IPs", "PW6030")
        return _ends(
            leg,
            "refused",
            f"{address} has no port {leg.port}/{leg.protocol}",
            "PW1141",
            Origin(world.virtual_addresses[address].service),
        )
    if any(c.contains(address) for c in world.plans.services.service_cidrs):
        return _ends(leg, "dropped", f"no Service has the address {address}", "PW1142")
    if not inside and address in world.pods_by_address:
        return _ends(leg, "unknown", f"{HOST_ROUTES} pod addresses", "PW6030")
    return None, "internal", (), ()


def _enter_virtual(world: World, leg: _Leg, unit: ServicePort, *, inside: bool) -> Entry | Branch:
    address, source = leg.address, leg.source
    if address in unit.cluster_ips:
        if not inside:
            return _ends(leg, "unknown", f"{HOST_ROUTES} cluster IPs", "PW6030", Origin(unit.service))
        return unit, "internal", (source.node,), (_service_hop(unit, f"ClusterIP {address}", "clusterIP"),)
    kind = "load balancer" if address in unit.load_balancer_ips else "external IP"
    entries: tuple[str, ...] = (source.node,)
    edge: tuple[Hop, ...] = ()
    if not inside:
        route, closed = world.plans.nodes.routes.get(address), _closed(world, leg)
        if closed is not None:
            return closed
        if route is None:
            return _ends(leg, "no-route", f"no node takes {address}", "PW1143", Origin(unit.service))
        entries = route.entries or (route.node,)
        edge = _edge_hops(route)
    hop = _service_hop(unit, f"{kind} {address} by node {' or '.join(entries)}", "type")
    if address in unit.load_balancer_ips and not admits_source(unit, source.addresses):
        why = f"{same_family(source.addresses, address)} is in no loadBalancerSourceRanges"
        return _ends(leg, "dropped", why, "PW1112", Origin(unit.service))
    return unit, ("shortcut" if inside else "external"), entries, (*edge, hop)


def _closed(world: World, leg: _Leg) -> Branch | None:
    """The end at a load balancer outside of the nodes that has no healthy node; None where there is none such."""
    route = world.plans.nodes.routes.get(leg.address)
    if route is None or route.entries is None or route.entries:
        return None
    return _ends(leg, "dropped", f"no node passes the health check of {leg.address}", "PW1145", route.origin)


def _edge_hops(route: node.ExternalRoute) -> tuple[Hop, ...]:
    """The load balancer outside of the nodes, where there is one (rule 8)."""
    if route.entries is None:
        return ()
    text = f"the load balancer of {route.address} spreads over {', '.join(route.entries)}, which pass its health check"
    return (Hop("edge", "allowed", text, (route.origin,)),)


def _service_hop(unit: ServicePort, how: str, field: str) -> Hop:
    name = f" ({unit.port_name})" if unit.port_name else ""
    text = f"{unit.service.key} {how} port {unit.port}/{unit.protocol}{name}"
    return Hop("service", "allowed", text, (unit.origin,), evidence="computed")


def _ends(leg: _Leg, observes: str, text: str, code: str, origin: Origin | None = None) -> Branch:
    hop = Hop("service", "denied", text, (origin,) if origin else (), code)
    return Branch(leg.address, None, (hop,), observes)  # type: ignore[arg-type]


def _through_service(
    world: World, leg: _Leg, unit: ServicePort, *, scope: Scope, entry: str, before: tuple[Hop, ...]
) -> tuple[tuple[Hop, ...], tuple[Branch, ...]]:
    remote = bool(leg.source.pod) and entry != leg.source.node
    if remote:
        # Rule 1: on the source's own node the packet still carries the node's address and the NodePort.
        egress = _policy_hop(world, leg.source.pod, "egress", peer=leg.address, protocol=leg.protocol, port=leg.port)
        before = (*before, egress)
        if egress.verdict == "denied":
            return before, (Branch(leg.address, None, (), "dropped"),)
    lost = _lost_between(world, leg.source.node, entry)
    if lost is not None:
        return before, (Branch(leg.address, None, (lost,), "dropped"),)
    backends = decide_backends(unit, node=entry, zone=world.zone_of(entry), scope=scope)
    if not backends.endpoints:
        observes = "refused" if backends.none == "refuse" else "dropped"
        hop = Hop("endpoint", "denied", backends.why, (unit.origin,), "PW1102")
        return before, (Branch("", None, (hop,), observes),)  # type: ignore[arg-type]
    # Rule 3, and: a pod that came from another node is masqueraded under Local too, or replies would bypass the NAT.
    masquerade = scope != "internal" and (not unit.external_local or remote)
    if leg.address in unit.cluster_ips and world.plans.services.proxy.masquerade_all:
        masquerade = True
    total = len(backends.endpoints)
    balance = describe_balance(world.plans.services, unit, scope)
    if balance:
        last = msgspec.structs.replace(before[-1], notes=(*before[-1].notes, f"by {backends.why}", *balance))
        before = (*before[:-1], last)
    branches = []
    for endpoint in backends.endpoints:
        hop = _endpoint_hop(endpoint, unit, total)
        chosen = msgspec.structs.replace(
            leg, address=endpoint.address, port=endpoint.port, translated_on=entry, masquerade=masquerade
        )
        chosen = msgspec.structs.replace(chosen, hidden=masquerade and not unit.external_local)
        branches.append(_deliver(world, chosen, (hop,), checked_egress=remote))
    return before, tuple(branches)


def _endpoint_hop(endpoint: Endpoint, unit: ServicePort, total: int) -> Hop:
    whom = endpoint.pod.key if endpoint.pod else endpoint.address
    chance = f"1 of {total}" if not unit.affinity_seconds else f"1 of {total}, then kept {unit.affinity_seconds} s"
    text = f"{whom} {join_port(endpoint.address, endpoint.port)} on {endpoint.node or 'no node'} ({chance})"
    return Hop("endpoint", "allowed", text, (endpoint.origin,))


def _deliver(world: World, leg: _Leg, hops: tuple[Hop, ...], *, checked_egress: bool = False) -> Branch:
    """From the translated packet at the source's side to the listener."""
    pod = world.pods_by_address.get(leg.address)
    # Rule 7: by its own address a pod's packet never leaves the pod; by a Service it does, and comes back.
    own = pod is not None and pod == leg.source.pod and not leg.translated_on
    if leg.source.pod is not None and not checked_egress and not own:
        egress = _policy_hop(world, leg.source.pod, "egress", peer=leg.address, protocol=leg.protocol, port=leg.port)
        hops = (*hops, egress)
        if egress.verdict == "denied":
            return Branch(leg.address, pod, hops, "dropped")
    subject = world.subject(pod)
    if subject is None:
        return _outside(world, leg, hops)
    lost = _lost_between(world, leg.translated_on or leg.source.node, subject.node)
    if lost is not None:
        return Branch(leg.address, pod, (*hops, lost), "dropped")
    seen = _source_seen(world, leg, subject.node)
    if seen not in leg.source.addresses:
        hops = (*hops, Hop("nat", "allowed", f"source becomes {seen} on leaving node {leg.translated_on}"))
    if own:
        return _listen(world, leg, pod, hops, heard=seen)
    # Rule 4: only what the node sends itself, not what another node translated and sent back, skips forward (N17).
    own_node = not leg.source.pod and leg.source.node == subject.node and leg.translated_on in ("", subject.node)
    if not own_node:
        ingress = _policy_hop(world, pod, "ingress", peer=seen, protocol=leg.protocol, port=leg.port)
        hops = (*hops, ingress)
        if ingress.verdict == "denied":
            return Branch(leg.address, pod, hops, "dropped")
    # Rule 3 again: the listener is behind the masquerade, on the translating node too; so is a pod that meets itself.
    back = leg.translated_on and (leg.hidden or pod == leg.source.pod)
    return _listen(world, leg, pod, hops, heard=world.address_of(leg.translated_on, leg.address) if back else seen)


def _lost_between(world: World, one: str, other: str) -> Hop | None:
    """A packet that would have to pass a link that is cut; no node's name is the host."""
    cut = next((name for name in (one, other) if name in world.cut_nodes), "") if one != other else ""
    text = f"the link of node {cut} is cut: nothing passes"
    return Hop("link", "denied", text, (Origin(Ref("Node", "", cut)),), "PW6032") if cut else None


def _source_seen(world: World, leg: _Leg, destination_node: str) -> str:
    """Rule 3: masquerade happens after the policy hook of the translating node."""
    if leg.masquerade and leg.translated_on and leg.translated_on != destination_node:
        return world.address_of(leg.translated_on, leg.address)
    return same_family(leg.source.addresses, leg.address)


def _policy_hop(world: World, pod: Ref | None, direction: Direction, *, peer: str, protocol: str, port: int) -> Hop:
    verdict = decide_policy(
        world.plans.policy, subject=world.subject(pod), direction=direction, peer=peer, protocol=protocol, port=port
    )
    if verdict.decision is None:
        subject = world.subject(pod)
        if subject is not None and direction in subject.isolated:
            whom = "itself" if peer in subject.addresses else f"its own node {subject.node}"
            return Hop(direction, "allowed", f"NetworkPolicies let {subject.pod.key} reach {whom}")
        return Hop(direction, "allowed", f"no policy isolates {pod.key if pod else 'the source'} for {direction}")
    peer_pod = world.pods_by_address.get(peer)
    whom = f"{peer_pod.key if peer_pod else peer} on {port}/{protocol}"
    origins = tuple(m.origin for m in verdict.decision.matched)
    names = ", ".join(sorted({o.ref.key for o in origins}))
    if verdict.action == "allow":
        text = f"{names} allows {whom}" if names else f"no policy decides about {whom}"
        return Hop(direction, "allowed", text, origins)
    notes = explain_misses(world, verdict.decision, peer=peer, protocol=protocol, port=port)
    if verdict.action == "audit":
        text = f"audited: {names} would deny {whom}, were audited policies enforced"
        return Hop(direction, "allowed", text, origins, "PW2013", notes)
    if any(o.ref.kind == "ClusterNetworkPolicy" for o in origins):
        return Hop(direction, "denied", f"{names} denies {whom}", origins, "PW2012", notes)
    code = "PW2010" if direction == "egress" else "PW2011"
    return Hop(direction, "denied", f"isolated by {names}; no rule allows {whom}", origins, code, notes)


def _outside(world: World, leg: _Leg, hops: tuple[Hop, ...]) -> Branch:
    """Addresses that are not pods: the API server, nodes, the host, the rest of the world."""
    lost = _lost_between(world, leg.source.node, world.nodes_by_address.get(leg.address, ""))
    if lost is not None:
        return Branch(leg.address, None, (*hops, lost), "dropped")
    if (leg.address, leg.port) in world.api_endpoints:
        hop = Hop("listener", "allowed", "the API server listens")
        return Branch(leg.address, None, (*hops, hop), "connects")
    if leg.address in world.nodes_by_address or leg.address in world.snapshot.settings.host_addresses:
        hop = Hop(
            "listener", "unknown", f"whether anything listens on {join_port(leg.address, leg.port)} is not podwire's"
        )
        return Branch(leg.address, None, (*hops, hop), "unknown")
    if any(c.contains(leg.address) for c in world.plans.services.cluster_cidrs):
        hop = Hop("listener", "denied", f"no pod has the address {leg.address}", code="PW6031")
        return Branch(leg.address, None, (*hops, hop), "dropped")
    text = f"{leg.address} is outside the cluster"
    return Branch(leg.address, None, (*hops, Hop("listener", "unknown", text)), "unknown")


def _listen(world: World, leg: _Leg, pod: Ref | None, hops: tuple[Hop, ...], *, heard: str) -> Branch:
    """``heard`` is the source address of what arrives."""
    proxy = world.proxy_in(pod)
    if proxy is not None and leg.target.scheme and leg.port in (proxy.http_port, proxy.https_port):
        return _route(world, leg, proxy, pod, hops)
    found = world.runtime(pod)
    if found is None:
        return Branch(leg.address, pod, hops, "connects", source=heard)
    listening = _listens(found, leg.port, leg.protocol)
    if listening is False:
        text = f"no container of {pod.key if pod else leg.address} listens on {leg.port}/{leg.protocol}"
        hop = Hop("listener", "denied", text, (found.origin,), "PW1103")
        return Branch(leg.address, pod, (*hops, hop), "refused")
    if listening is None:
        text = f"{found.pod.key} runs a program; whether it listens on {leg.port} is its own matter"
        hop = Hop("listener", "allowed", text, (found.origin,))
        return Branch(leg.address, pod, (*hops, hop), "connects", source=heard)
    hop = Hop("listener", "allowed", f"{found.pod.key} listens", (found.origin,))
    return Branch(leg.address, pod, (*hops, hop), "connects", source=heard)


def _listens(pod: node.Pod, port: int, protocol: str) -> bool | None:
    """Whether a stand-in listens; None when a program decides."""
    works = [c.work for c in pod.containers]
    if any(
        isinstance(w, node.StandInWork) and any((p.port, p.protocol) == (port, protocol) for p in w.ports)
        for w in works
    ):
        return True
    return None if any(isinstance(w, node.ProcessWork) for w in works) else False


def _route(world: World, leg: _Leg, proxy: ProxyPlan, pod: Ref | None, hops: tuple[Hop, ...]) -> Branch:
    host = leg.target.authority or leg.target.host
    decision = decide_route(proxy, host=host, path=leg.target.path.partition("?")[0], tls=leg.port == proxy.https_port)
    origins = (decision.route.origin,) if decision.route else ()
    if decision.cluster is None or not decision.cluster.upstreams:
        verdict = "allowed" if decision.status < 400 else "denied"
        text = f"{host}{leg.target.path}: {decision.why}, answers {decision.status}"
        hop = Hop("route", verdict, text, origins, "" if verdict == "allowed" else "PW3020")  # type: ignore[arg-type]
        return Branch(leg.address, pod, (*hops, hop), "connects", decision.status)
    hop = Hop("route", "allowed", f"{host}{leg.target.path} goes to {decision.cluster.key}", origins)
    if leg.depth >= MAX_PROXIES or pod is None:
        loop = Hop("route", "denied", "the way passes proxies in a circle", origins, "PW3021")
        return Branch(leg.address, pod, (*hops, loop), "connects", 508)
    return _behind_proxy(world, leg, decision.cluster.upstreams, pod, (*hops, hop))


def _behind_proxy(world: World, leg: _Leg, upstreams: tuple[Upstream, ...], pod: Ref, hops: tuple[Hop, ...]) -> Branch:
    """The second connection, proxy to endpoint. All endpoints alike give one witness; else the outcome is open."""
    party = world.pod_party(pod)
    if party is None:
        return Branch(leg.address, pod, (*hops, Hop("route", "unknown", "the proxy has no address yet")), "unknown")
    second = [
        _deliver(world, _Leg(party, u.address, u.port, "TCP", leg.target, depth=leg.depth + 1), ()) for u in upstreams
    ]
    good = [b for b in second if b.verdict == "allowed"]
    if good and len(good) < len(second):
        bad = next(b for b in second if b.verdict != "allowed")
        mixed = Hop("answer", "unknown", f"{len(good)} of {len(second)} endpoints answer; {bad.hops[-1].text}")
        return Branch(good[0].address, good[0].pod, (*hops, *good[0].hops, mixed), "connects")
    witness = (good or second)[0]
    status = 0 if good else 504 if witness.observes == "dropped" else 503
    return Branch(witness.address, witness.pod, (*hops, *witness.hops), "connects", status or witness.status)


def is_address(text: str) -> bool:
    """Whether ``text`` is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
