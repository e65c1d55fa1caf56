"""Which nodes one pod fits on, in the scheduler's words for those it does not, and which of them it prefers.

Rules:

1. What depends on the pod alone is worked out once (:class:`Fit`), so that looking at a node is cheap.
2. Required anti-affinity counts both ways: the pod's own, and that of pods already placed.
3. A preference is a number from 0 to 100 over the nodes that fit, weighted as kube-scheduler weighs its plugins
   (TaintToleration 3, NodeAffinity, InterPodAffinity and PodTopologySpread 2).

Source: kubernetes ``pkg/scheduler/framework/plugins`` {interpodaffinity, podtopologyspread, nodeaffinity,
tainttoleration, nodeports, noderesources}.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from podwire.compile.affinity import (
    PREFERRED,
    REQUIRED,
    Json,
    Place,
    Placement,
    host_ports_of,
    node_misfit,
    requests_of,
    section,
    selection_holds,
    selects_pod,
    term_holds,
    term_namespaces,
    term_selects,
    untolerated,
)
from podwire.kube import Pod

AFFINITY_RULES = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY_RULES = "node(s) didn't match pod anti-affinity rules"
EXISTING_RULES = "node(s) didn't satisfy existing pods anti-affinity rules"
CROWDED = "Too many pods"
PORTS = "node(s) didn't have free ports for the requested pod ports"
SPREAD = "node(s) didn't match pod topology spread constraints"
MISSING_LABEL = f"{SPREAD} (missing required label)"


def can_be_helped(reason: str, requests: Mapping[str, Decimal], place: Place) -> bool:
    """Whether fewer pods on ``place`` could make a pod fit that does not for ``reason``."""
    if reason.startswith("Insufficient "):
        return all(value <= place.room[name] for name, value in requests.items() if name in place.room)
    return reason in (PORTS, CROWDED, SPREAD, ANTI_AFFINITY_RULES, EXISTING_RULES)


class _Spread:
    """One topology spread constraint and the matching pods in each domain."""

    def __init__(self, pod: Pod, constraint: Json, placement: Placement) -> None:
        self.key = str(constraint.get("topologyKey", ""))
        self.skew = int(constraint.get("maxSkew", 1))
        self.own = selects_pod(constraint, pod, pod)
        self.counts: dict[str, int] = {}
        for place in placement.places:
            if self.key in place.labels and _is_eligible(pod, constraint, place):
                self.counts.setdefault(place.labels[self.key], 0)
        for other, node in placement.pods_in((pod.metadata.namespace,)):
            domain = placement.domain(node, self.key)
            if (
                domain in self.counts
                and other.metadata.deletion_timestamp is None
                and selects_pod(constraint, pod, other)
            ):
                self.counts[domain] += 1
        least = min(self.counts.values(), default=0)
        self.least = 0 if len(self.counts) < int(constraint.get("minDomains") or 1) else least

    def breaks(self, place: Place) -> str | None:
        domain = place.labels.get(self.key)
        if domain is None:
            return MISSING_LABEL
        return SPREAD if self.counts.get(domain, 0) + self.own - self.least > self.skew else None


def _is_eligible(pod: Pod, constraint: Json, place: Place) -> bool:
    """Whether a node's domain counts (nodeAffinityPolicy Honor, nodeTaintsPolicy Ignore by default)."""
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not selection_holds(pod, place):
        return False
    honours = constraint.get("nodeTaintsPolicy", "Ignore") == "Honor"
    return not honours or untolerated(pod.spec.tolerations, place.taints) is None


class Fit:
    """One pod against everything that is placed."""

    def __init__(self, pod: Pod, placement: Placement) -> None:
        """Works out what does not depend on the node."""
        self.pod, self.placement = pod, placement
        self.requests = requests_of(pod)
        self._ports = tuple(host_ports_of(pod))
        affinity = section(pod, "podAffinity").get(REQUIRED) or ()
        anti = section(pod, "podAntiAffinity").get(REQUIRED) or ()
        self._near = [(str(term.get("topologyKey", "")), self._domains(term)) for term in affinity]
        self._alone = bool(affinity) and all(selects_pod(t, pod, pod) for t in affinity)
        self._far = {pair for term in anti for pair in self._pairs(term)}
        self._shunned = set(self._existing_anti_affinity())
        constraints = pod.spec.topology_spread_constraints
        self._hard, self._soft = (
            [_Spread(pod, c, placement) for c in constraints if c.get("whenUnsatisfiable", "DoNotSchedule") == wanted]
            for wanted in ("DoNotSchedule", "ScheduleAnyway")
        )

    def misfit(self, place: Place) -> str | None:
        """Why ``place`` does not fit, in the scheduler's words; None when it does."""
        reason = node_misfit(self.pod, place)
        if reason is not None:
            return reason
        if self._ports and self.placement.taken(self._ports, place.name):
            return PORTS
        if self.placement.count(place.name) >= place.limit:
            return CROWDED
        lacking = self.placement.lacking(self.requests, place)
        if lacking is not None:
            return f"Insufficient {lacking}"
        broken = next((found for spread in self._hard if (found := spread.breaks(place)) is not None), None)
        return broken or self._affinity_misfit(place)

    def _affinity_misfit(self, place: Place) -> str | None:
        labels = place.labels
        # The first of a group that wants its own kind near may go to any node that has the keys.
        first = self._alone and not any(domains for _, domains in self._near)
        for key, domains in self._near:
            if key not in labels or not (first or labels[key] in domains):
                return AFFINITY_RULES
        if any(labels.get(key) == domain for key, domain in self._far):
            return ANTI_AFFINITY_RULES
        if any(labels.get(key) == domain for key, domain in self._shunned):
            return EXISTING_RULES
        return None

    def _domains(self, term: Json) -> set[str]:
        return {domain for _, domain in self._pairs(term)}

    def _pairs(self, term: Json) -> Iterator[tuple[str, str]]:
        """Topology pairs where a pod is that the term is about."""
        key = str(term.get("topologyKey", ""))
        namespaces = term_namespaces(term, self.pod, self.placement.snapshot)
        for other, node in self.placement.pods_in(sorted(namespaces)):
            domain = self.placement.domain(node, key)
            if domain is not None and selects_pod(term, self.pod, other):
                yield key, domain

    def _existing_anti_affinity(self) -> Iterator[tuple[str, str]]:
        for other, node in self.placement.opinionated:
            for term in section(other, "podAntiAffinity").get(REQUIRED) or ():
                key = str(term.get("topologyKey", ""))
                domain = self.placement.domain(node, key)
                if domain is not None and term_selects(term, other, self.pod, self.placement.snapshot):
                    yield key, domain

    def best(self, places: list[Place]) -> Place | None:
        """The node with the highest preference; of equals the least loaded."""
        if not places:
            return None
        scores = self._scores(places)
        return min(places, key=lambda p: (-scores[p.name], *self.placement.load(self.pod, p.name)))

    def _scores(self, places: list[Place]) -> dict[str, int]:
        taints = _normalised({p.name: -self._soft_taints(p) for p in places})
        nodes = _normalised({p.name: self._node_wishes(p) for p in places})
        weights = self._pod_wishes()
        near = _normalised({p.name: sum(w for (k, d), w in weights.items() if p.labels.get(k) == d) for p in places})
        spread = _normalised({p.name: -self._crowding(p) for p in places})
        return {p.name: 3 * taints[p.name] + 2 * (nodes[p.name] + near[p.name] + spread[p.name]) for p in places}

    def _soft_taints(self, place: Place) -> int:
        return sum(untolerated(self.pod.spec.tolerations, (taint,)) is not None for taint in place.soft_taints)

    def _node_wishes(self, place: Place) -> int:
        terms = section(self.pod, "nodeAffinity").get(PREFERRED) or ()
        return sum(int(t.get("weight", 0)) for t in terms if _preference_holds(t.get("preference") or {}, place))

    def _crowding(self, place: Place) -> int:
        """Matching pods in the node's domains; a node without a key comes last."""
        most = 1 + sum(sum(spread.counts.values()) for spread in self._soft)
        return sum(spread.counts.get(place.labels.get(spread.key, ""), most) for spread in self._soft)

    def _pod_wishes(self) -> dict[tuple[str, str], int]:
        """Weights of topology pairs: the pod's preferences, and those of placed pods about it."""
        found: dict[tuple[str, str], int] = {}
        for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
            for wish in section(self.pod, kind).get(PREFERRED) or ():
                for pair in self._pairs(wish.get("podAffinityTerm") or {}):
                    found[pair] = found.get(pair, 0) + sign * int(wish.get("weight", 0))
            for other, node in self.placement.opinionated:
                for term, weight in _wishes(other, kind):
                    self._weigh(found, other, node, term=term, weight=sign * weight)
        return found

    def _weigh(self, found: dict[tuple[str, str], int], other: Pod, node: str, *, term: Json, weight: int) -> None:
        key = str(term.get("topologyKey", ""))
        domain = self.placement.domain(node, key)
        if domain is not None and term_selects(term, other, self.pod, self.placement.snapshot):
            found[key, domain] = found.get((key, domain), 0) + weight


def _wishes(pod: Pod, kind: str) -> Iterator[tuple[Json, int]]:
    """Terms of a placed pod that say where others should be: preferred ones, and required affinity with weight 1."""
    for wish in section(pod, kind).get(PREFERRED) or ():
        yield wish.get("podAffinityTerm") or {}, int(wish.get("weight", 0))
    if kind == "podAffinity":
        for term in section(pod, kind).get(REQUIRED) or ():
            yield term, 1


def _preference_holds(preference: Json, place: Place) -> bool:
    """An empty preference holds everywhere."""
    return not preference or term_holds(preference, place)


def _normalised(values: dict[str, int]) -> dict[str, int]:
    """The same order on a scale from 0 to 100; all 0 when there is no difference."""
    low, high = min(values.values()), max(values.values())
    if low == high:
        return dict.fromkeys(values, 0)
    return {name: 100 * (value - low) // (high - low) for name, value in values.items()}
