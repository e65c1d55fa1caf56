"""Whether one node fits one pod, and the scheduler's words for why not.

Source: kubernetes ``pkg/scheduler/framework/plugins`` {nodeunschedulable, tainttoleration, nodeaffinity,
interpodaffinity, podtopologyspread, noderesources}.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from podwire.compile.statuses import find_condition
from podwire.kube import LabelSelector, Node, Pod, selects
from podwire.kube.core import Taint
from podwire.kube.pods import Toleration
from podwire.snapshot import Snapshot

Json = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NOT_READY = Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")
CORDON = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
AFFINITY = "node(s) didn't match Pod's node affinity/selector"


class Place(msgspec.Struct, frozen=True):
    """A node as the scheduler sees it. ``limit`` is the number of pods it takes."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    unschedulable: bool
    limit: int

    @classmethod
    def of(cls, node: Node) -> "Place":
        """From the Node object; a node that reports not ready carries the taint the node controller would add."""
        ready = find_condition(node.status.conditions, "Ready")
        taints = tuple(t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute"))
        if ready is not None and ready.status != "True":
            taints = (*taints, NOT_READY)
        limit = node.status.allocatable.get("pods", "")
        number = int(limit) if limit.isdigit() else 2**31
        return cls(node.metadata.name, node.metadata.labels, taints, node.spec.unschedulable, number)


class Placement:
    """Which pods are on which node, counting those placed in this compile."""

    def __init__(self, snapshot: Snapshot, places: tuple[Place, ...]) -> None:
        """Everything bound so far."""
        self.snapshot = snapshot
        self.places = places
        self.labels = {place.name: place.labels for place in places}
        self._pods: dict[str, int] = {}
        self._owners: dict[tuple[str, str], int] = {}
        self._by_namespace: dict[str, list[tuple[Pod, str]]] = {}
        for pod in snapshot.all(Pod).values():
            if pod.spec.node_name and not pod.is_finished:
                self.add(pod, pod.spec.node_name)

    def add(self, pod: Pod, node: str) -> None:
        """Count ``pod`` on ``node``."""
        self._pods[node] = self._pods.get(node, 0) + 1
        owner = (_owner(pod), node)
        self._owners[owner] = self._owners.get(owner, 0) + 1
        self._by_namespace.setdefault(pod.metadata.namespace, []).append((pod, node))

    def count(self, node: str) -> int:
        """Pods on a node."""
        return self._pods.get(node, 0)

    def load(self, pod: Pod, node: str) -> tuple[int, int, str]:
        """What the choice is ordered by: pods of the same owner, pods, name."""
        return self._owners.get((_owner(pod), node), 0), self.count(node), node

    def pods_in(self, namespaces: Iterable[str]) -> Iterable[tuple[Pod, str]]:
        """Pods with their nodes."""
        for namespace in namespaces:
            yield from self._by_namespace.get(namespace, ())


def _owner(pod: Pod) -> str:
    owner = next((o for o in pod.metadata.owner_references if o.controller), None)
    return owner.uid if owner else pod.metadata.uid


def misfit(pod: Pod, place: Place, placement: Placement) -> str | None:
    """Why ``place`` does not fit, in the scheduler's words; None when it does."""
    reason = node_misfit(pod, place)
    if reason is not None:
        return reason
    if placement.count(place.name) >= place.limit:
        return "Too many pods"
    return _pod_affinity_misfit(pod, place, placement) or _spread_misfit(pod, place, placement)


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
    required = _section(pod, "nodeAffinity").get(REQUIRED)
    return required is None or any(_term_holds(t, place) for t in required.get("nodeSelectorTerms") or ())


def _section(pod: Pod, kind: str) -> Json:
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


def _term_holds(term: Json, place: Place) -> bool:
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


def _pod_affinity_misfit(pod: Pod, place: Place, placement: Placement) -> str | None:
    for term in _section(pod, "podAffinity").get(REQUIRED) or ():
        if not _affine(pod, term, place, placement):
            return "node(s) didn't match pod affinity rules"
    for term in _section(pod, "podAntiAffinity").get(REQUIRED) or ():
        if any(_same_domain(term, place.name, node, placement) for _, node in _matching(pod, term, placement)):
            return "node(s) didn't match pod anti-affinity rules"
    return None


def _affine(pod: Pod, term: Json, place: Place, placement: Placement) -> bool:
    """A pod that would be the first of its own group may go anywhere with the topology key."""
    found = list(_matching(pod, term, placement))
    if not found:
        own = _selects(term.get("labelSelector"), pod.metadata.labels)
        return own and term.get("topologyKey", "") in place.labels
    return any(_same_domain(term, place.name, node, placement) for _, node in found)


def _matching(pod: Pod, term: Json, placement: Placement) -> Iterable[tuple[Pod, str]]:
    namespaces = set(term.get("namespaces") or ())
    selector = term.get("namespaceSelector")
    if selector is not None:
        everywhere = placement.snapshot.objects.get("Namespace", {})
        namespaces |= {n for n, v in everywhere.items() if _selects(selector, v.metadata.labels)}
    for other, node in placement.pods_in(sorted(namespaces) or (pod.metadata.namespace,)):
        if _selects(term.get("labelSelector"), other.metadata.labels):
            yield other, node


def _same_domain(term: Json, one: str, other: str, placement: Placement) -> bool:
    key = term.get("topologyKey", "")
    here = placement.labels.get(one, {}).get(key)
    return here is not None and here == placement.labels.get(other, {}).get(key)


def _selects(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """A missing selector matches no pod."""
    return selector is not None and selects(msgspec.convert(selector, LabelSelector), labels)


def _spread_misfit(pod: Pod, place: Place, placement: Placement) -> str | None:
    for constraint in pod.spec.topology_spread_constraints:
        if constraint.get("whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule":
            continue
        key = constraint.get("topologyKey", "")
        domain = place.labels.get(key)
        if domain is None:
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        counts = _domain_counts(pod, constraint, key, placement)
        lowest = min(counts.values(), default=0)
        if len(counts) < int(constraint.get("minDomains") or 1):
            lowest = 0
        if counts.get(domain, 0) + 1 - lowest > int(constraint.get("maxSkew", 1)):
            return "node(s) didn't match pod topology spread constraints"
    return None


def _domain_counts(pod: Pod, constraint: Json, key: str, placement: Placement) -> dict[str, int]:
    """Matching pods by domain, over the nodes the pod could use (nodeAffinityPolicy Honor)."""
    usable = [p for p in placement.places if key in p.labels and node_misfit_by_affinity(pod, p) is None]
    counts = {p.labels[key]: 0 for p in usable}
    selector = constraint.get("labelSelector")
    for other, node in placement.pods_in((pod.metadata.namespace,)):
        domain = placement.labels.get(node, {}).get(key)
        if domain in counts and _selects(selector, other.metadata.labels):
            counts[domain] += 1
    return counts


def node_misfit_by_affinity(pod: Pod, place: Place) -> str | None:
    """The node selector and affinity part alone."""
    bare = msgspec.structs.replace(place, taints=(), unschedulable=False)
    return node_misfit(pod, bare)
