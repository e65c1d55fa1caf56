"""What the kernels refused of the policy tables, and which policies that concerns.

Rules:

1. A kernel refuses one unit and keeps the one before: the rules of before stay in force. That is an error on every
   policy concerned (PW2006), and with it an Event.
2. A pod's unit concerns the policies that are about the pod, and those whose rules name it. The units of all blocks
   and of all ports concern the policies with blocks and ports.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from podwire.base import NOWHERE, Finding
from podwire.compile.policy_classes import selects_pod
from podwire.compile.policy_views import BlockPeer, PodsPeer, PodView, PolicyView
from podwire.kube import selects
from podwire.plan import PlaneFact

BLOCKS, PORTS = "cidrs", "ports"
"""The units of a node that all pods share, as the facts name them."""

Labels = Mapping[str, Mapping[str, str]]


class Refusal(msgspec.Struct, frozen=True):
    """One unit that the kernel of ``node`` refused, with its words. ``pod``: whose unit it is, if it is a pod's."""

    node: str
    unit: str
    words: str
    pod: PodView | None = None

    def __str__(self) -> str:
        """For people."""
        what = f"the tables of pod {self.pod.pod.key}" if self.pod else f"the table of all {self.unit}"
        return f"the kernel of {self.node} refuses {what}: {self.words}"


def list_refusals(planes: Mapping[str, PlaneFact], pods: Iterable[PodView]) -> tuple[Refusal, ...]:
    """Every refused unit that is of policy; Service ports are refused under keys of their own."""
    facts = [(key.removeprefix("nft/"), f) for key, f in planes.items() if key.startswith("nft/") and f.rejected]
    if not facts:
        return ()
    by_uid = {pod.uid: pod for pod in pods}
    return tuple(
        Refusal(node, unit, words, by_uid.get(unit))
        for node, fact in facts
        for unit, words in sorted(fact.rejected.items())
        if unit in by_uid or unit in (BLOCKS, PORTS)
    )


def concerns(view: PolicyView, refusal: Refusal, namespaces: Labels) -> bool:
    """Rule 2."""
    peers = [peer.match for rule in view.rules for peer in rule.peers]
    if refusal.unit == BLOCKS:
        return any(isinstance(match, BlockPeer) for match in peers)
    if refusal.unit == PORTS:
        return any(rule.ports for rule in view.rules)
    pod = refusal.pod
    assert pod is not None
    named = (match for match in peers if isinstance(match, PodsPeer))
    return is_about(view, pod, namespaces) or any(selects_pod(match, pod, namespaces) for match in named)


def is_about(view: PolicyView, pod: PodView, namespaces: Labels) -> bool:
    """Whether the policy selects the pod."""
    if view.subject is not None:
        return selects_pod(view.subject, pod, namespaces)
    return view.policy.namespace == pod.pod.namespace and selects(view.subjects, dict(pod.labels))


def find_refused(views: Iterable[PolicyView], refusals: tuple[Refusal, ...], namespaces: Labels) -> Iterator[Finding]:
    """Rule 1."""
    if not refusals:
        return
    for view in views:
        for refusal in (r for r in refusals if concerns(view, r, namespaces)):
            text = f"{refusal}; what was in force there before stays"
            yield Finding("PW2006", "error", view.policy, NOWHERE, text, "podwire doctor; podwire.log has the details")
