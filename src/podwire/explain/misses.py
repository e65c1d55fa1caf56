"""Why no rule allowed: for each rule of the isolating policies the first thing that did not match, in words."""

from collections.abc import Iterator

from podwire.compile.policy_views import BlockPeer, NamePeer, Peer, PodsPeer, PolicyView, PortItem, Rule, view_policy
from podwire.explain.world import World
from podwire.kube import LabelSelector, NetworkPolicy, Pod, selects
from podwire.kube.clusterpolicy import ClusterNetworkPolicy
from podwire.plan import Decision, Direction

MAX_NOTES = 6


def explain_misses(world: World, decision: Decision, *, peer: str, protocol: str, port: int) -> tuple[str, ...]:
    """One note a rule. ``peer`` is the other end's address."""
    notes: list[str] = []
    for matched in decision.matched:
        ref = matched.origin.ref
        if ref.kind == "ClusterNetworkPolicy":
            notes.extend(_denying_rule(world, ref.name, f"{matched.origin.path}"))
            continue
        policy = world.snapshot.get(NetworkPolicy, matched.origin.ref.namespace, matched.origin.ref.name)
        if policy is None:
            continue
        view = view_policy(policy)
        if decision.direction in view.directions:
            notes.extend(_policy_notes(world, view, decision.direction, peer, f"{port}/{protocol}"))
    if len(notes) > MAX_NOTES:
        notes = [*notes[:MAX_NOTES], f"and {len(notes) - MAX_NOTES} more rules"]
    return tuple(notes)


def _denying_rule(world: World, name: str, path: str) -> Iterator[str]:
    """The tier, priority and name of the rule at ``path`` of a ClusterNetworkPolicy."""
    policy = world.snapshot.get(ClusterNetworkPolicy, "", name)
    if policy is None:
        return
    rules = (*((f"spec.ingress[{i}]", r.name) for i, r in enumerate(policy.spec.ingress)),)
    rules += (*((f"spec.egress[{i}]", r.name) for i, r in enumerate(policy.spec.egress)),)
    called = next((f" {n!r}" for where, n in rules if n and path.startswith(where)), "")
    yield f"{name} {path}{called} decides in tier {policy.spec.tier}, priority {policy.spec.priority}"


def _policy_notes(world: World, view: PolicyView, direction: Direction, peer: str, port: str) -> Iterator[str]:
    rules = [rule for rule in view.rules if rule.direction == direction]
    if not rules:
        yield f"{view.policy.key} has no {direction} rule"
    for index, rule in enumerate(rules):
        where = f"{view.policy.key} spec.{direction}[{index}]"
        if not any(_matches(world, item, peer) for item in rule.peers):
            wanted = " or ".join(_peer_text(item) for item in rule.peers)
            yield f"{where} is for {wanted}: {_who(world, peer)} is not"
        else:
            yield f"{where} is for {_ports_text(rule)}: {port} is not"


def _matches(world: World, item: Peer, peer: str) -> bool:
    match item.match:
        case None:
            return True
        case BlockPeer() as block:
            from ipaddress import ip_address

            parsed = ip_address(peer)
            return block.holds(parsed.version, int(parsed))
        case NamePeer():
            return False  # of ClusterNetworkPolicies only; their rules are not asked here
        case PodsPeer() as pods:
            return _pods_match(world, pods, peer)


def _pods_match(world: World, peer: PodsPeer, address: str) -> bool:
    ref = world.pods_by_address.get(address)
    pod = world.snapshot.get(Pod, ref.namespace, ref.name) if ref else None
    if ref is None or pod is None or (peer.namespace and peer.namespace != ref.namespace):
        return False
    if peer.namespaces is not None and not selects(peer.namespaces, world.snapshot.labels_of(ref.namespace)):
        return False
    return selects(peer.pods, pod.metadata.labels)


def _peer_text(item: Peer) -> str:
    match item.match:
        case None:
            return "anybody"
        case BlockPeer(cidr=cidr, excepts=excepts):
            return f"{cidr}" + (f" except {', '.join(map(str, excepts))}" if excepts else "")
        case NamePeer(pattern=pattern):
            return pattern
        case PodsPeer(namespace=namespace, namespaces=namespaces, pods=pods):
            whose = (
                f"of namespace {namespace}" if namespaces is None else f"of namespaces {format_selector(namespaces)}"
            )
            return f"pods {format_selector(pods)} {whose}"


def format_selector(selector: LabelSelector) -> str:
    """As ``kubectl -l`` writes it; ``(any)`` for an empty one."""
    parts = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    for expression in selector.match_expressions:
        match expression.operator:
            case "Exists":
                parts.append(expression.key)
            case "DoesNotExist":
                parts.append(f"!{expression.key}")
            case operator:
                word = "in" if operator == "In" else "notin"
                parts.append(f"{expression.key} {word} ({','.join(expression.values)})")
    return ",".join(parts) or "(any)"


def _ports_text(rule: Rule) -> str:
    return " and ".join(_port_text(item) for item in rule.ports) or "any port"


def _port_text(item: PortItem) -> str:
    first, last = item.span
    if item.name:
        return f"{item.name}/{item.protocol}"
    if (first, last) == (0, 65535):
        return f"any {item.protocol} port"
    return f"{first}/{item.protocol}" if first == last else f"{first}-{last}/{item.protocol}"


def _who(world: World, address: str) -> str:
    ref = world.pods_by_address.get(address)
    pod = world.snapshot.get(Pod, ref.namespace, ref.name) if ref else None
    if ref is None or pod is None:
        return address
    labels = ",".join(f"{k}={v}" for k, v in sorted(pod.metadata.labels.items()) if k != "pod-template-hash")
    return f"{ref.key} ({labels or 'no labels'})"
