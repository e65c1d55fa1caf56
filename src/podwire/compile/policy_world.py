"""What policies see of the cluster, followed by what changed, and how much of a pod they look at at all.

Rules:

1. The tuples are the same objects while no policy or namespace a policy could see changed.
2. Labels whose key no selector names, and ports whose name no rule names, tell no two pods apart: a rollout that only
   changes ``pod-template-hash`` brings no new kind of pod.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import msgspec

from podwire.base import Edition, Finding
from podwire.compile.context import Context
from podwire.compile.policy_cluster import Surroundings, surroundings_of, view_cluster_policy
from podwire.compile.policy_views import PodsPeer, PodView, PolicyView, group_labels, view_pod, view_policy
from podwire.compile.touched import Results, Seen, kept
from podwire.kube import LabelSelector, Namespace, NetworkPolicy, Pod
from podwire.kube.clusterpolicy import ClusterNetworkPolicy
from podwire.plan import PodFact
from podwire.snapshot import Snapshot

Labels = tuple[tuple[str, str], ...]


class PolicyWorld:
    """Views of pods, policies and namespaces; lives in a memo.

    ``views`` are NetworkPolicies by key, then the ClusterNetworkPolicies of ``cluster`` in their order.
    """

    def __init__(self) -> None:
        """Nothing seen."""
        self.views: tuple[PolicyView, ...] = ()
        self.cluster: tuple[PolicyView, ...] = ()
        self.namespaces: tuple[tuple[str, Labels], ...] = ()
        self.findings: tuple[Finding, ...] = ()
        self._pods: Results[PodView] = Results()
        self._facts: Seen[PodFact] = Seen()
        self._policies: Results[PolicyView] = Results()
        self._clusters: Results[PolicyView] = Results()
        self._spaces: Results[Labels] = Results()
        self._around = Surroundings()

    @property
    def pods(self) -> Edition[str, PodView]:
        """Views of the pods that policies see."""
        return self._pods.results

    def update(self, snapshot: Snapshot) -> None:
        """Follow a snapshot."""
        self._follow_pods(snapshot)
        spaces, policies = snapshot.all(Namespace), snapshot.all(NetworkPolicy)
        self._spaces.update((spaces,), (), lambda n: group_labels(spaces[n].metadata.labels) if n in spaces else None)
        self._policies.update((policies,), (), lambda k: view_policy(policies[k]) if k in policies else None)
        self._follow_cluster_policies(snapshot)
        if self._spaces.changed:
            self.namespaces = tuple(self._spaces.results.items())
        if self._policies.changed or self._clusters.changed:
            found = self._clusters.results.values()
            self.cluster = tuple(sorted(found, key=lambda view: (view.priority, view.policy.name)))
            self.views = (*self._policies.results.values(), *self.cluster)
            self.findings = tuple(finding for view in self.views for finding in view.findings)

    def _follow_cluster_policies(self, snapshot: Snapshot) -> None:
        """Peers by ``nodes`` depend on the nodes: a node that changes for policies makes all of them anew."""
        policies = snapshot.all(ClusterNetworkPolicy)
        around = surroundings_of(snapshot) if policies else Surroundings()
        self._around = kept(self._around, around) or around
        make = partial(_view_cluster, policies, self._around)
        self._clusters.update((policies,), (self._around,), make)

    def _follow_pods(self, snapshot: Snapshot) -> None:
        pods, facts = snapshot.all(Pod), snapshot.facts
        observed = snapshot.keys_of(self._facts.advance(facts.pods))
        self._pods.update((pods,), (), lambda key: view_pod(pods[key], facts) if key in pods else None, also=observed)


def _view_cluster(policies: Mapping[str, ClusterNetworkPolicy], around: Surroundings, key: str) -> PolicyView | None:
    return view_cluster_policy(policies[key], around) if key in policies else None


def follow_world(context: Context) -> PolicyWorld:
    """The compiler's world, at the context's instant."""
    world = context.memo.unit("policy-world", (), PolicyWorld)
    world.update(context.snapshot)
    return world


class Relevance(msgspec.Struct, frozen=True):
    """Label keys that selectors name, and port names that rules name (rule 2)."""

    labels: frozenset[str]
    ports: frozenset[str]

    @classmethod
    def of(cls, views: Iterable[PolicyView]) -> "Relevance":
        """What any of ``views`` looks at."""
        views = tuple(views)
        ports = (item.name for view in views for rule in view.rules for item in rule.ports)
        return cls(frozenset(key for view in views for key in _label_keys(view)), frozenset(filter(None, ports)))

    def reduce(self, pod: PodView) -> PodView:
        """The pod without what no policy looks at."""
        labels = tuple(pair for pair in pod.labels if pair[0] in self.labels)
        ports = tuple(port for port in pod.ports if port.name in self.ports)
        if labels == pod.labels and ports == pod.ports:
            return pod
        return msgspec.structs.replace(pod, labels=labels, ports=ports)


def _label_keys(view: PolicyView) -> Iterator[str]:
    matches = (peer.match for rule in view.rules for peer in rule.peers)
    peers = (*(match for match in matches if isinstance(match, PodsPeer)), *((view.subject,) if view.subject else ()))
    for selector in (view.subjects, *(peer.pods for peer in peers)):
        yield from _keys(selector)


def _keys(selector: LabelSelector) -> Iterator[str]:
    yield from selector.match_labels
    yield from (expression.key for expression in selector.match_expressions)
