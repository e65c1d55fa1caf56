"""Pods by what controllers ask for: owner, node, unbound, without owner. Follows a snapshot by what changed.

Rules:

1. The roster lives in the memo and looks at what changed since it looked last.
2. Whoever asks gets tuples in key order; an owner's tuple is the same object while its pods are.
"""

from collections.abc import Iterable, Mapping

from podwire.base import differences
from podwire.compile.context import Context
from podwire.kube import ControllerRevision, Job, KubeObject, Pod, ReplicaSet
from podwire.snapshot import controller_of

JOB_FINALIZER = "batch.kubernetes.io/job-tracking"
_OTHERS: tuple[type[KubeObject], ...] = (ReplicaSet, Job, ControllerRevision)


class Roster:
    """Indexes over the pods of the latest snapshot."""

    def __init__(self) -> None:
        """No pod is known."""
        self._pods: Mapping[str, Pod] = {}
        self._owned: dict[str, dict[str, Pod]] = {}
        self._nodes: dict[str, dict[str, Pod]] = {}
        self._tuples: dict[str, tuple[Pod, ...]] = {}
        self._loose: dict[str, Pod] = {}
        self._tracked: dict[str, Pod] = {}
        self._tables: tuple[object, ...] = ()
        self._others: dict[str, list[KubeObject]] = {}

    def follow(self, context: Context) -> None:
        """Take in what changed since the last call."""
        pods, old = context.snapshot.all(Pod), self._pods
        changed = differences(old, pods)
        for key in changed & old.keys():
            self._drop(key, old[key])
        for key in changed & pods.keys():
            self._take(key, pods[key])
        self._pods = pods
        tables = tuple(context.snapshot.all(kind) for kind in _OTHERS)
        if len(tables) != len(self._tables) or any(a is not b for a, b in zip(tables, self._tables, strict=True)):
            self._tables = tables
            self._others = {}
            for table in tables:
                for value in table.values():
                    if uid := controller_of(value):
                        self._others.setdefault(uid, []).append(value)

    def pods_of(self, owner: KubeObject) -> tuple[Pod, ...]:
        """Pods controlled by ``owner``."""
        uid = owner.metadata.uid
        found = self._tuples.get(uid)
        if found is None:
            found = self._tuples[uid] = _sorted(self._owned.get(uid, {}))
        return found

    def others_of(self, owner: KubeObject) -> Iterable[KubeObject]:
        """ReplicaSets, Jobs and ControllerRevisions controlled by ``owner``."""
        return self._others.get(owner.metadata.uid, ())

    def on_node(self, name: str) -> tuple[Pod, ...]:
        """Pods bound to a node; with the empty name those that are not bound."""
        return _sorted(self._nodes.get(name, {}))

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes that pods are bound to, existing or not."""
        return tuple(sorted(name for name in self._nodes if name))

    @property
    def loose(self) -> tuple[Pod, ...]:
        """Pods without a controller."""
        return _sorted(self._loose)

    @property
    def tracked(self) -> tuple[Pod, ...]:
        """Pods that carry the finalizer of Jobs."""
        return _sorted(self._tracked)

    def _take(self, key: str, pod: Pod) -> None:
        uid = controller_of(pod)
        if uid:
            self._owned.setdefault(uid, {})[key] = pod
            self._tuples.pop(uid, None)
        else:
            self._loose[key] = pod
        self._nodes.setdefault(pod.spec.node_name, {})[key] = pod
        if JOB_FINALIZER in pod.metadata.finalizers:
            self._tracked[key] = pod

    def _drop(self, key: str, pod: Pod) -> None:
        uid = controller_of(pod)
        if uid:
            _remove(self._owned, uid, key)
            self._tuples.pop(uid, None)
        self._loose.pop(key, None)
        self._tracked.pop(key, None)
        _remove(self._nodes, pod.spec.node_name, key)


def roster_of(context: Context) -> Roster:
    """The compiler's roster, at the context's instant."""
    roster = context.memo.unit("roster", (), Roster)
    roster.follow(context)
    return roster


def _sorted(found: Mapping[str, Pod]) -> tuple[Pod, ...]:
    return tuple(found[key] for key in sorted(found))


def _remove(index: dict[str, dict[str, Pod]], name: str, key: str) -> None:
    found = index.get(name)
    if found is not None:
        found.pop(key, None)
        if not found:
            del index[name]
