"""Cutting established connections that a changed policy forbids (N19, mode ``cut``).

Rules:

1. Every conntrack entry is judged by :func:`podwire.plan.decide_policy` on its original source and its reply source, in
   the directions decided on the node. What a node itself sends is no matter of policies.
2. A forbidden entry is labelled, not deleted: without an entry the next packet of the *answering* side would begin a
   connection of its own, which its egress policy may allow. The rules reset labelled TCP and drop the rest.
3. An allowed entry is not touched; one that was labelled and is allowed again loses its label.

Source: linux ``include/uapi/linux/netfilter/nfnetlink_conntrack.h``; ``docs/lab/2026-11-24-nflog.md``.
"""

import socket
from collections.abc import Collection, Iterable, Iterator

import msgspec

from podwire.base import PodwireError, differences
from podwire.plan import Direction, PolicyPlan, PolicyPod, PolicyVerdict, decide_policy
from podwire.planes.nft.conntrack import acknowledged, open_conntrack
from podwire.planes.nft.netns import run_in_netns
from podwire.planes.nft.wire import (
    DONE,
    DUMP,
    ERROR,
    REQUEST,
    Tuple,
    make_attribute,
    make_message,
    parse_tuple,
    split_attributes,
    split_messages,
    tuple_family,
)

CUT_LABEL = 2
"""Bit of the conntrack label the rules look at; bit 1 belongs to Services."""

_GET, _CHANGE = 1 << 8 | 1, 1 << 8
_ORIGINAL, _REPLY, _LABELS, _LABELS_MASK = 1, 2, 22, 23
_LABEL_BYTES = 16
_NESTED = 0x8000
_BITS = (1 << CUT_LABEL).to_bytes(_LABEL_BYTES, "little")


class Established(msgspec.Struct, frozen=True):
    """One entry: as the client sees it, as answers come back, and the original tuple as the kernel wrote it."""

    original: Tuple
    reply: Tuple
    cut: bool
    raw: bytes


class Judged(msgspec.Struct, frozen=True):
    """An entry whose label must change: forbidden by ``verdict`` in ``direction``, or allowed again (no verdict)."""

    flow: Established
    direction: Direction = "ingress"
    verdict: PolicyVerdict | None = None


class Judge:
    """Answers for many flows of one node."""

    def __init__(self, plan: PolicyPlan, *, node: str, addresses: Collection[str]) -> None:
        """``addresses`` are the node's own."""
        self._plan = plan
        self._own = frozenset(addresses)
        self._pods = {a: pod for pod in plan.pods.values() if pod.node == node for a in pod.addresses}
        self._known: dict[tuple[str, str, str, str, int], PolicyVerdict] = {}

    def judge(self, flows: Iterable[Established]) -> Iterator[Judged]:
        """Those whose label must change."""
        for flow in flows:
            found = self._forbidden(flow)
            if found is not None and not flow.cut:
                yield Judged(flow, *found)
            elif found is None and flow.cut:
                yield Judged(flow)

    def _forbidden(self, flow: Established) -> tuple[Direction, PolicyVerdict] | None:
        client, server = flow.original.source, flow.reply.source
        if client in self._own:
            return None
        ends: tuple[tuple[Direction, str, str], ...] = (("egress", client, server), ("ingress", server, client))
        for direction, own, peer in ends:
            pod = self._pods.get(own)
            if pod is not None and pod.isolated:
                verdict = self._decide(pod, direction, own, peer, flow)
                if verdict.action == "deny":
                    return direction, verdict
        return None

    def _decide(self, pod: PolicyPod, direction: Direction, own: str, peer: str, flow: Established) -> PolicyVerdict:
        protocol, port = flow.original.protocol, flow.reply.source_port
        key = (own, direction, peer, protocol, port)
        if key not in self._known:
            self._known[key] = decide_policy(
                self._plan, subject=pod, direction=direction, peer=peer, protocol=protocol, port=port
            )
        return self._known[key]


def is_stricter_possible(old: PolicyPlan, new: PolicyPlan) -> bool:
    """Whether anything changed for pods that were there before: new pods have no connections yet."""
    if old.cidrs != new.cidrs or old.ports != new.ports:
        return True
    return any(
        (known.identities, known.isolated, known.rule_set) != (pod.identities, pod.isolated, pod.rule_set)
        for key in differences(old.pods, new.pods)
        if (known := old.pods.get(key)) is not None and (pod := new.pods.get(key)) is not None
    )


def relabel_flows(netns: str, judge: Judge) -> tuple[Judged, ...]:
    """Judge every connection of the namespace and label what is forbidden; what was changed.

    Raises :class:`PodwireError` when the kernel refuses.
    """
    try:
        with run_in_netns(netns, open_conntrack) as connection:
            judged = tuple(judge.judge(_list(connection)))
            for one in judged:
                _label(connection, one)
            return judged
    except OSError as error:
        raise PodwireError(f"established connections of {netns} cannot be judged: {error}") from error


def _list(connection: socket.socket) -> list[Established]:
    connection.send(make_message(_GET, REQUEST | DUMP))
    flows: list[Established] = []
    while True:
        for kind, body in split_messages(connection.recv(1 << 17)):
            if kind == DONE:
                return flows
            if kind == ERROR:
                raise OSError(-int.from_bytes(body[:4], "little", signed=True), "conntrack cannot be listed")
            flows += parse_established(body)


def parse_established(body: bytes) -> Iterator[Established]:
    """The entry in one message; nothing when it is not IP."""
    attributes = dict(split_attributes(body[4:]))
    raw = attributes.get(_ORIGINAL, b"")
    original, reply = parse_tuple(raw), parse_tuple(attributes.get(_REPLY, b""))
    if original is not None and reply is not None:
        cut = bool(int.from_bytes(attributes.get(_LABELS, b""), "little") & 1 << CUT_LABEL)
        yield Established(original, reply, cut, raw)


def _label(connection: socket.socket, one: Judged) -> None:
    """A connection that went away by itself meanwhile is success."""
    labels = _BITS if one.verdict is not None else bytes(_LABEL_BYTES)
    body = make_attribute(_ORIGINAL | _NESTED, one.flow.raw)
    body += make_attribute(_LABELS, labels) + make_attribute(_LABELS_MASK, _BITS)
    acknowledged(connection, _CHANGE, body, family=tuple_family(one.flow.original))
