"""Nodes, taints, label terms, and what is where: the parts the scheduler's decisions are made of.

Source: kubernetes ``pkg/scheduler/framework/plugins`` {nodeunschedulable, tainttoleration, nodeaffinity,
noderesources}; ``k8s.io/component-helpers/scheduling/corev1``.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from podwire.compile.statuses import find_condition
from podwire.kube import LabelSelector, LabelSelectorRequirement, Namespace, Node, Pod, selects
from podwire.kube.core import Taint
from podwire.kube.pods import Container, Toleration
from podwire.kube.quantity import parse_quantity
from podwire.snapshot import Snapshot

Json = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
NOT_READY = Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")
CORDON = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
COUNTED = ("cpu", "memory", "ephemeral-storage")
_NOTHING = Decimal(0)
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
HostPort = tuple[str, str, int]


class Place(msgspec.Struct, frozen=True):
    """A node as the scheduler sees it. ``limit`` is the number of pods it takes, ``room`` what it has of each resource
    (one it does not name is not counted)."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    unschedulable: bool
    limit: int
    room: Mapping[str, Decimal] = {}
    soft_taints: tuple[Taint, ...] = ()

    @classmethod
    def of(cls, node: Node) -> "Place":
        """From the Node object; a node that reports not ready carries the taint the node controller would add."""
        ready = find_condition(node.status.conditions, "Ready")
        taints = tuple(t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute"))
        soft = tuple(t for t in node.spec.taints if t.effect == "PreferNoSchedule")
        if ready is not None and ready.status != "True":
            taints = (*taints, NOT_READY)
        limit = node.status.allocatable.get("pods", "")
        number = int(limit) if limit.isdigit() else 2**31
        room = {name: number_of(value) for name, value in node.status.allocatable.items() if name != "pods"}
        return cls(node.metadata.name, node.metadata.labels, taints, node.spec.unschedulable, number, room, soft)


def number_of(quantity: str | float) -> Decimal:
    """The number a quantity stands for; 0 when it is none (an API checked it before)."""
    try:
        return parse_quantity(quantity)
    except ValueError:
        return _NOTHING


def host_ports_of(pod: Pod) -> Iterator[HostPort]:
    """Ports of its node that a pod takes, by containers and sidecars: protocol, address (empty: all) and number."""
    sidecars = (c for c in pod.spec.init_containers if c.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for port in container.ports:
            if port.host_port:
                yield port.protocol, "" if port.host_ip in _EVERYWHERE else port.host_ip, port.host_port


def clashes(one: HostPort, other: HostPort) -> bool:
    """Whether two ports of a node cannot be had by two pods."""
    return (one[0], one[2]) == (other[0], other[2]) and (one[1] == other[1] or not one[1] or not other[1])


def requests_of(pod: Pod) -> Mapping[str, Decimal]:
    """What a pod asks for: containers and sidecars together, or the largest init container beside the sidecars before
    it, whichever is more; and its overhead."""
    total: dict[str, Decimal] = {}
    for container in pod.spec.containers:
        _add(total, container)
    running: dict[str, Decimal] = {}
    peak: dict[str, Decimal] = {}
    for container in pod.spec.init_containers:
        beside = dict(running)
        _add(beside, container)
        peak = {name: max(peak.get(name, _NOTHING), value) for name, value in {**peak, **beside}.items()}
        if container.restart_policy == "Always":
            running = beside
            _add(total, container)
    found = {name: max(total.get(name, _NOTHING), peak.get(name, _NOTHING)) for name in {**total, **peak}}
    for name, value in pod.spec.overhead.items():
        found[name] = found.get(name, _NOTHING) + number_of(value)
    return found


def _add(total: dict[str, Decimal], container: Container) -> None:
    for name, value in container.resources.requests.items():
        total[name] = total.get(name, _NOTHING) + number_of(value)


class Placement:
    """Which pods are on which node, counting those placed in this compile."""

    def __init__(self, snapshot: Snapshot, places: tuple[Place, ...]) -> None:
        """Everything bound so far."""
        self.snapshot = snapshot
        self.places = places
        self.labels = {place.name: place.labels for place in places}
        self._opinionated: dict[str, tuple[Pod, str]] = {}
        self._pods: dict[str, int] = {}
        self._used: dict[str, dict[str, Decimal]] = {}
        self._owners: dict[tuple[str, str], int] = {}
        self._by_namespace: dict[str, dict[str, tuple[Pod, str]]] = {}
        self._by_node: dict[str, dict[str, Pod]] = {}
        for pod in snapshot.all(Pod).values():
            if pod.spec.node_name and not pod.is_finished:
                self.add(pod, pod.spec.node_name)

    def add(self, pod: Pod, node: str) -> None:
        """Count ``pod`` on ``node``."""
        self._count(pod, node, 1)
        self._by_namespace.setdefault(pod.metadata.namespace, {})[pod.key] = (pod, node)
        self._by_node.setdefault(node, {})[pod.key] = pod
        if section(pod, "podAffinity") or section(pod, "podAntiAffinity"):
            self._opinionated[pod.key] = (pod, node)

    def remove(self, pod: Pod, node: str) -> None:
        """Count ``pod`` on ``node`` no more."""
        self._count(pod, node, -1)
        del self._by_namespace[pod.metadata.namespace][pod.key], self._by_node[node][pod.key]
        self._opinionated.pop(pod.key, None)

    def _count(self, pod: Pod, node: str, sign: int) -> None:
        self._pods[node] = self._pods.get(node, 0) + sign
        owner = (_owner(pod), node)
        self._owners[owner] = self._owners.get(owner, 0) + sign
        used = self._used.setdefault(node, {})
        for name, value in requests_of(pod).items():
            used[name] = used.get(name, _NOTHING) + sign * value

    @property
    def opinionated(self) -> Iterable[tuple[Pod, str]]:
        """Pods that have something to say about others, with their nodes."""
        return self._opinionated.values()

    def pods_on(self, node: str) -> tuple[Pod, ...]:
        """Pods of a node."""
        return tuple(self._by_node.get(node, {}).values())

    def taken(self, wanted: Iterable[HostPort], node: str) -> bool:
        """Whether a pod of the node has one of these ports of it."""
        wishes = list(wanted)
        held = (port for pod in self._by_node.get(node, {}).values() for port in host_ports_of(pod)) if wishes else ()
        return any(clashes(one, other) for other in held for one in wishes)

    def count(self, node: str) -> int:
        """Pods on a node."""
        return self._pods.get(node, 0)

    def lacking(self, wanted: Mapping[str, Decimal], place: Place) -> str | None:
        """The first resource ``place`` has too little of."""
        used = self._used.get(place.name, {})
        for name, value in wanted.items():
            if name not in place.room and name in COUNTED:
                continue
            if value and used.get(name, _NOTHING) + value > place.room.get(name, _NOTHING):
                return name
        return None

    def load(self, pod: Pod, node: str) -> tuple[int, int, str]:
        """What equal choices are ordered by: pods of the same owner, pods, name."""
        return self._owners.get((_owner(pod), node), 0), self.count(node), node

    def pods_in(self, namespaces: Iterable[str]) -> Iterator[tuple[Pod, str]]:
        """Pods with their nodes."""
        for namespace in namespaces:
            yield from self._by_namespace.get(namespace, {}).values()

    def domain(self, node: str, key: str) -> str | None:
        """The value of a topology key on a node."""
        return self.labels.get(node, {}).get(key)


def _owner(pod: Pod) -> str:
    owner = next((o for o in pod.metadata.owner_references if o.controller), None)
    return owner.uid if owner else pod.metadata.uid


def node_misfit(pod: Pod, place: Place) -> str | None:
    """The part that only the node decides."""
    tolerations = pod.spec.tolerations
    if place.unschedulable and untolerated(tolerations, (CORDON,)) is not None:
        return "node(s) were unschedulable"
    taint = untolerated(tolerations, place.taints)
    if taint is not None:
        return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    return None if selection_holds(pod, place) else AFFINITY


def untolerated(tolerations: tuple[Toleration, ...], taints: tuple[Taint, ...]) -> Taint | None:
    """The first taint that none of the tolerations matches."""
    return next((taint for taint in taints if not any(tolerates(t, taint) for t in tolerations)), None)


def selection_holds(pod: Pod, place: Place) -> bool:
    """Whether ``nodeSelector`` and required node affinity allow the node."""
    if any(place.labels.get(k) != v for k, v in pod.spec.node_selector.items()):
        return False
    required = section(pod, "nodeAffinity").get(REQUIRED)
    return required is None or any(term_holds(t, place) for t in required.get("nodeSelectorTerms") or ())


def section(pod: Pod, kind: str) -> Json:
    """A part of a pod's affinity, empty when absent."""
    found: Json = (pod.spec.affinity or {}).get(kind) or {}
    return found


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration matches one taint."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def term_holds(term: Json, place: Place) -> bool:
    """All expressions and fields of a term; an empty term matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    known = {"metadata.name": place.name}
    return all(_holds(e, place.labels) for e in expressions) and all(_holds(f, known) for f in fields)


def _holds(expression: Json, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression.get("key", ""))
    values = expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            return _compare(value, values, operator)
        case _:
            return False


def _compare(value: str | None, values: list[str], operator: str) -> bool:
    try:
        have, bound = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return have > bound if operator == "Gt" else have < bound


def term_selects(term: Json, owner: Pod, other: Pod, snapshot: Snapshot) -> bool:
    """Whether a pod affinity term of ``owner`` is about ``other``."""
    return other.metadata.namespace in term_namespaces(term, owner, snapshot) and selects_pod(term, owner, other)


def term_namespaces(term: Json, owner: Pod, snapshot: Snapshot) -> frozenset[str]:
    """The namespaces a term looks at: those named or selected, else the pod's own."""
    names = set(term.get("namespaces") or ())
    selector = term.get("namespaceSelector")
    if selector is not None:
        chosen = _selector(selector)
        names |= {n for n, v in snapshot.all(Namespace).items() if selects(chosen, v.metadata.labels)}
    return frozenset(names or ({owner.metadata.namespace} if selector is None else ()))


def selects_pod(term: Json, owner: Pod, other: Pod) -> bool:
    """The label selector of a term or constraint, with ``matchLabelKeys`` and ``mismatchLabelKeys`` filled in from its
    pod; a missing selector matches no pod."""
    selector = term.get("labelSelector")
    if selector is None:
        return False
    mine = owner.metadata.labels
    extra = [(key, "In") for key in term.get("matchLabelKeys") or () if key in mine]
    extra += [(key, "NotIn") for key in term.get("mismatchLabelKeys") or () if key in mine]
    if not selects(_selector(selector), other.metadata.labels):
        return False
    added = tuple(LabelSelectorRequirement(key=k, operator=o, values=(mine[k],)) for k, o in extra)  # type: ignore[arg-type]
    return not added or selects(LabelSelector(match_expressions=added), other.metadata.labels)


def _selector(value: Json) -> LabelSelector:
    return msgspec.convert(value, LabelSelector)
