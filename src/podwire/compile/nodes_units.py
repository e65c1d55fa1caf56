"""The units of all bound pods, followed by what changed.

Rules:

1. A pod is looked at again when it, what is observed of it, its node, what Services send to it, what its policy plane
   has confirmed of it, or an object it refers to has changed.
2. A container may start once the policy plane of its node names the pod's uid as applied; without planes, and on the
   host network, nothing waits. A pod whose containers run already is not held again while the plane loads anew.
"""

from collections.abc import Iterator, Mapping

import msgspec

from podwire.base import Edition, differences
from podwire.compile.context import Context
from podwire.compile.nodes_lost import is_cut
from podwire.compile.nodes_pods import CompiledPod, compile_pod, find_references, is_planned
from podwire.compile.nodes_ports import PortTable
from podwire.compile.touched import Findings, Results, Seen, kept
from podwire.kube import ConfigMap, KubeObject, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret
from podwire.plan import PlaneFact, PodFact
from podwire.plan import node as plan
from podwire.snapshot import Snapshot

REFERRED: tuple[type[KubeObject], ...] = (ConfigMap, Secret, PersistentVolumeClaim)
"""What a pod refers to by name."""


class PodUnits:
    """Units by pod key; lives in a memo. ``compiled`` has them as far as the pods themselves decide, ``units`` as the
    nodes are to run them."""

    def __init__(self) -> None:
        """No pod known."""
        self.units: Edition[str, plan.Pod] = Edition()
        self.findings = Findings()
        self._compiled: Results[CompiledPod] = Results()
        self._ports = PortTable()
        self._referring = Referring()
        self._facts: Seen[PodFact] = Seen()
        self._planes: Seen[PlaneFact] = Seen()
        self._nodes: Seen[Node] = Seen()

    @property
    def compiled(self) -> Edition[str, CompiledPod]:
        """What is known of each pod on a node that is run."""
        return self._compiled.results

    def update(self, context: Context, nodes: Mapping[str, plan.Node]) -> None:
        """Follow the snapshot; ``nodes`` are those that are run."""
        snapshot, ports = context.snapshot, self._ports
        pods, facts = snapshot.all(Pod), snapshot.facts.pods
        touched = self._facts_of(snapshot) | ports.update(snapshot) | self._on_changed_nodes(snapshot)
        touched |= self._referring.update(snapshot)

        def make(key: str) -> CompiledPod | None:
            pod = pods.get(key)
            if pod is None or pod.spec.node_name not in nodes or not is_planned(pod, facts.get(pod.metadata.uid)):
                return None
            return compile_pod(context, pod, ports.ports_of(pod))

        found = self._compiled.update((pods,), (snapshot.settings, tuple(nodes)), make, also=touched)
        self.findings.update({key: found[key].findings if key in found else () for key in self._compiled.changed})
        units = ((key, found.get(key)) for key in self._compiled.touched)
        made = {key: None if unit is None else _release(snapshot, pods[key], unit.unit) for key, unit in units}
        self.units = self.units.revise({key: kept(self.units.get(key), unit) for key, unit in made.items()})

    def _facts_of(self, snapshot: Snapshot) -> set[str]:
        """Pods of which something else is observed, or confirmed by a policy plane."""
        uids = set(self._facts.advance(snapshot.facts.pods))
        before, after = self._planes.value, snapshot.facts.planes
        for plane in self._planes.advance(after):
            if plane.startswith("nft/"):
                uids |= differences(*(part[plane].applied if plane in part else {} for part in (before, after)))
        return snapshot.keys_of(uids)

    def _on_changed_nodes(self, snapshot: Snapshot) -> set[str]:
        names = self._nodes.advance(snapshot.nodes)
        return {pod.key for name in names for pod in snapshot.pods_by_node.get(name, ())}


def follow_units(context: Context, nodes: Mapping[str, plan.Node]) -> PodUnits:
    """The compiler's units, at the context's instant."""
    units = known_units(context)
    units.update(context, nodes)
    return units


def known_units(context: Context) -> PodUnits:
    """The same for later passes: nothing is followed."""
    return context.memo.unit("pod-units", (), PodUnits)


class Referring:
    """Which pods refer to an object by name."""

    def __init__(self) -> None:
        """Nobody to anything."""
        self._names: Results[tuple[str, ...]] = Results()
        self._pods: dict[str, set[str]] = {}
        self._seen: dict[type[KubeObject], Seen[KubeObject]] = {kind: Seen() for kind in REFERRED}
        self._volumes: Seen[PersistentVolume] = Seen()

    def update(self, snapshot: Snapshot) -> set[str]:
        """Follow ``snapshot``; keys of the pods that refer to something that changed."""
        pods, before, planes = snapshot.all(Pod), self._names.results, snapshot.settings.planes

        def make(key: str) -> tuple[str, ...] | None:
            return find_references(pods[key], planes=planes) if key in pods else None

        after = self._names.update((pods,), (planes,), make)
        for key in self._names.changed:
            for name in before.get(key, ()):
                self._pods[name].discard(key)
            for name in after.get(key, ()):
                self._pods.setdefault(name, set()).add(key)
        return {key for name in self._changed_names(snapshot) for key in self._pods.get(name, ())}

    def _changed_names(self, snapshot: Snapshot) -> Iterator[str]:
        for kind in REFERRED:
            for key in self._seen[kind].advance(snapshot.all(kind)):
                yield f"{kind.__name__}/{key}"
        before, after = self._volumes.value, snapshot.all(PersistentVolume)
        for key in self._volumes.advance(after):
            for claim in (v.spec.claim_ref for v in (before.get(key), after.get(key)) if v is not None):
                if claim:
                    yield f"PersistentVolumeClaim/{claim.get('namespace', '')}/{claim.get('name', '')}"


def _release(snapshot: Snapshot, pod: Pod, unit: plan.Pod) -> plan.Pod:
    """Rule 2. A node that is cut off does not hear that a pod is to end."""
    node = snapshot.nodes.get(pod.spec.node_name)
    if unit.terminating and node is not None and is_cut(node):
        unit = msgspec.structs.replace(unit, terminating=False)
    if unit.run and not _is_cleared(snapshot, pod):
        return msgspec.structs.replace(unit, run=False)
    return unit


def _is_cleared(snapshot: Snapshot, pod: Pod) -> bool:
    if pod.spec.host_network or not snapshot.settings.planes:
        return True
    observed = snapshot.facts.pods.get(pod.metadata.uid)
    if observed is not None and any(c.state != "waiting" for c in (*observed.init_containers, *observed.containers)):
        return True
    fact = snapshot.facts.planes.get(f"nft/{pod.spec.node_name}")
    return fact is not None and pod.metadata.uid in fact.applied
