"""What became of each policy: whom it selects, on which nodes it is in force, and which of its rules decide nothing.

Rules:

1. A policy concerns the nodes where pods are that it selects. It is in force on a node when the node's kernel has
   confirmed the tables of all of these pods, and refused no table that its rules need.
2. What the kernels confirmed comes from the facts ``nft/<node>``; the plan they are held against is the one for the
   policy's generation of now, so an older generation still in force is not counted.
3. The kernel refuses one unit at a time and keeps the one before; that is what ``refused`` tells.
4. A rule that decides nothing is the finding PW2031 of the compiler.

NetworkPolicy has no status in the API (KEP-2943 was dropped); this is podwire's.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from podwire.base import Ref
from podwire.compile.policy_classes import selects_pod
from podwire.compile.policy_cluster import surroundings_of, view_cluster_policy
from podwire.compile.policy_refused import concerns, list_refusals
from podwire.compile.policy_views import PodView, PolicyView, group_labels, view_pod, view_policy
from podwire.explain.world import World
from podwire.kube import Namespace, NetworkPolicy, Pod, selects
from podwire.kube.clusterpolicy import ClusterNetworkPolicy
from podwire.plan import PlaneFact, digest

IDLE_RULE = "PW2031"


class PolicyState(msgspec.Struct, frozen=True):
    """One policy. ``nodes`` are those it concerns; ``enforced`` those of them where it is in force."""

    policy: Ref
    generation: int
    mode: str
    tier: str
    pods: int
    nodes: tuple[str, ...]
    enforced: tuple[str, ...]
    refused: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_enforced(self) -> bool:
        """Whether every node it concerns has it in force and nothing of it is left out."""
        return self.nodes == self.enforced and not self.problems


def explain_policies(world: World) -> tuple[PolicyState, ...]:
    """Every policy: ClusterNetworkPolicies in the order they decide, then NetworkPolicies by name."""
    snapshot = world.snapshot
    around = surroundings_of(snapshot)
    cluster = [view_cluster_policy(p, around) for p in snapshot.all(ClusterNetworkPolicy).values()]
    cluster.sort(key=lambda view: (view.tier != "Admin", view.priority, view.policy.name))
    views = (*cluster, *(view_policy(p) for p in snapshot.all(NetworkPolicy).values()))
    subjects = _Subjects(world)
    refusals = list_refusals(snapshot.facts.planes, subjects.all())
    idle: dict[Ref, list[str]] = {}
    for finding in world.plans.findings:
        if finding.code == IDLE_RULE:
            idle.setdefault(finding.ref, []).append(str(finding.path))
    return tuple(
        _state(
            world,
            view,
            subjects.of(view),
            refused={r.node: str(r) for r in refusals if concerns(view, r, subjects.namespaces)},
            idle=idle.get(view.policy, ()),
        )
        for view in views
    )


class _Subjects:
    """Pods by namespace and by what they are labelled."""

    def __init__(self, world: World) -> None:
        snapshot = world.snapshot
        self.namespaces = {name: n.metadata.labels for name, n in snapshot.all(Namespace).items()}
        self._pods: dict[str, dict[tuple[tuple[str, str], ...], list[PodView]]] = {}
        for pod in snapshot.all(Pod).values():
            view = view_pod(pod, snapshot.facts)
            if view is not None:
                alike = self._pods.setdefault(view.pod.namespace, {})
                alike.setdefault(group_labels(pod.metadata.labels), []).append(view)

    def all(self) -> Iterator[PodView]:
        """Every pod that policies see."""
        return (pod for alike in self._pods.values() for pods in alike.values() for pod in pods)

    def of(self, view: PolicyView) -> tuple[PodView, ...]:
        """The pods a policy is about."""
        return tuple(pod for pods in self._groups(view) for pod in pods)

    def _groups(self, view: PolicyView) -> Iterator[list[PodView]]:
        if view.subject is None:
            for labels, pods in self._pods.get(view.policy.namespace, {}).items():
                if selects(view.subjects, dict(labels)):
                    yield pods
            return
        for groups in self._pods.values():
            yield from (pods for pods in groups.values() if selects_pod(view.subject, pods[0], self.namespaces))


def _state(
    world: World, view: PolicyView, pods: tuple[PodView, ...], *, refused: Mapping[str, str], idle: Iterable[str]
) -> PolicyState:
    facts = world.snapshot.facts.planes
    nodes = tuple(sorted({pod.node for pod in pods}))
    enforced = tuple(
        node
        for node in nodes
        if node not in refused and _confirmed(world, facts.get(f"nft/{node}"), (p for p in pods if p.node == node))
    )
    return PolicyState(
        policy=view.policy,
        generation=view.generation,
        mode="audit" if view.audited else "enforce",
        tier=view.tier,
        pods=len(pods),
        nodes=nodes,
        enforced=enforced,
        refused=tuple(refused.values()),
        idle=tuple(sorted(idle)),
        problems=tuple(f"{f.path}: {f.message}" for f in view.findings if f.severity == "error"),
    )


def _confirmed(world: World, fact: PlaneFact | None, pods: Iterable[PodView]) -> bool:
    if fact is None or not fact.ready:
        return False
    units = ((pod.uid, world.plans.policy.pods.get(pod.pod.key)) for pod in pods)
    return all(unit is not None and fact.applied.get(uid) == digest(unit) for uid, unit in units)
