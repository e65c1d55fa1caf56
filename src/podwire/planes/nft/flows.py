"""What became of connections, in names: the records behind ``podwire flows``, counters by rule, and Events.

Rules:

1. A denied packet's decision number resolves to policies and fields. Decisions that went out of use stay known for
   a while, because messages come late. A packet that only audited policies would deny is a record with verdict
   ``audited``.
2. An allowed connection is judged by :func:`podwire.plan.decide_policy`: there is one meaning. A connection cut by a
   changed policy is a record too.
3. The newest :data:`KEPT` records are kept; each watcher gets them first and then what comes, and one that reads too
   slowly misses records, which are counted.
4. One Event a minute for the same pod, peer, port and decision.
5. Counters are the kernel's (``hits.py``): exact while the log is flooded. Only cut connections are counted here.

Pure: time is an argument.
"""

import json
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from podwire.base import Ref
from podwire.plan import Decision, Direction, EventFact, PolicyPlan, PolicyPod, decide_policy
from podwire.planes.nft.cut import Judged
from podwire.planes.nft.nflog import LoggedPacket, NewConnection
from podwire.planes.nft.tables import AUDIT, DENY, NftPlan
from podwire.planes.nft.wire import Tuple

KEPT = 2048
KEPT_DECISIONS = 4096
EVENT_EVERY_SECONDS = 60.0
MAX_REMEMBERED_EVENTS = 4096
COMPONENT = "podwire-policy"
NUMBER = 0xFFFFF
"""The part of a decision word that is the decision's number."""
BOTH: tuple[Direction, ...] = ("egress", "ingress")


class End(msgspec.Struct, frozen=True):
    """One end of a connection. ``name``: ``namespace/pod`` or ``node/NAME``; empty for anything else."""

    address: str
    port: int
    name: str = ""

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        return f"{self.name or self.address}{port}"


class FlowRecord(msgspec.Struct, frozen=True):
    """One packet denied, or one connection let through. ``rules`` are the policies and fields of the decision."""

    at: float
    node: str
    verdict: str
    direction: Direction
    protocol: str
    source: End
    destination: End
    number: int
    rules: tuple[str, ...]
    service: str = ""
    text: str = ""


class FlowCount(msgspec.Struct, frozen=True, order=True):
    """Packets a rule (or an isolating policy) decided about on a node."""

    verdict: str
    direction: str
    rule: str
    packets: int
    node: str = ""


class FlowLog:
    """Names, keeps and counts what the kernel tells."""

    def __init__(self) -> None:
        """No plan yet: nothing resolves."""
        self.records: deque[FlowRecord] = deque(maxlen=KEPT)
        self._cut: Counter[tuple[str, str, str, str]] = Counter()
        self._plan: NftPlan | None = None
        self._indexed: NftPlan | None = None
        self._retired: OrderedDict[int, Decision] = OrderedDict()
        self._pods: dict[str, PolicyPod] = {}
        self._nodes: dict[str, str] = {}
        self._services: dict[tuple[str, str, int], str] = {}
        self._node_ports: dict[tuple[str, int], str] = {}
        self._behind: dict[tuple[str, str, int], list[str]] = {}
        self._said: OrderedDict[tuple[str, str, str, int], float] = OrderedDict()

    def load(self, plan: NftPlan) -> None:
        """The plan in force from here on. Costs nothing until something is to be named."""
        before, self._plan = self._plan, plan
        if before is not None and before.policy is not plan.policy:
            self._retire(before.policy.decisions, plan.policy.decisions)

    def _index(self) -> None:
        """Bring the indexes up to the plan."""
        plan, before = self._plan, self._indexed
        if plan is before or plan is None:
            return
        self._indexed = plan
        if before is None or before.policy is not plan.policy:
            self._pods = {a: pod for pod in plan.policy.pods.values() for a in pod.addresses}
        if before is None or before.services is not plan.services:
            self._nodes = {a: n.name for n in plan.services.nodes.values() for a in n.addresses}
            ports = plan.services.ports.values()
            self._services = {
                (address, unit.protocol, unit.port): f"{unit.service.key}:{unit.port}"
                for unit in ports
                for address in (*unit.cluster_ips, *unit.load_balancer_ips, *unit.external_ips, *unit.host_ips)
            }
            self._behind = {}
            for unit in ports:
                for key in {(e.address, unit.protocol, e.port) for e in unit.endpoints}:
                    self._behind.setdefault(key, []).append(f"{unit.service.key}:{unit.port}")
            self._node_ports = {(u.protocol, u.node_port): f"{u.service.key}:{u.port}" for u in ports if u.node_port}

    def _retire(self, old: Mapping[int, Decision], new: Mapping[int, Decision]) -> None:
        for number in old.keys() - new.keys():
            self._retired[number] = old[number]
        while len(self._retired) > KEPT_DECISIONS:
            self._retired.popitem(last=False)

    def counts(self, hits: Mapping[tuple[str, int], int]) -> tuple[FlowCount, ...]:
        """Packets by node and rule; ``hits`` are the kernels', by node and decision word. What no policy decided is not
        counted; a decision of several rules counts for each."""
        total = self._cut.copy()
        for (node, word), packets in hits.items():
            decision = self._decision(word & NUMBER)
            for rule in (_rules(decision) or ("",)) if decision is not None else ("(gone)",):
                total[_verdict(word), decision.direction if decision else "", rule, node] += packets
        return tuple(sorted(FlowCount(*key[:3], packets, key[3]) for key, packets in total.items() if packets))

    def deny(self, node: str, logged: LoggedPacket, at: float) -> tuple[FlowRecord, EventFact | None]:
        """Take in one logged packet: its record, and an Event when one is due."""
        self._index()
        packet, decision = logged.packet, self._decision(logged.number)
        source = self._end(packet.source, packet.source_port)
        destination = self._end(packet.destination, packet.destination_port)
        record = FlowRecord(
            at,
            node,
            "audited" if logged.audited else "denied",
            logged.direction,
            packet.protocol,
            source,
            destination,
            logged.number,
            _rules(decision),
            self._services_behind(packet) if logged.translated else "",
            _why(decision),
        )
        self._keep(record)
        return record, self._event(record, packet)

    def cut(self, node: str, judged: Judged, at: float) -> FlowRecord | None:
        """Take in one connection whose label changed; None when it is allowed again."""
        self._index()
        if judged.verdict is None:
            return None
        original, reply = judged.flow.original, judged.flow.reply
        record = FlowRecord(
            at,
            node,
            "cut",
            judged.direction,
            original.protocol,
            self._end(original.source, original.source_port),
            self._end(reply.source, reply.source_port),
            judged.verdict.number,
            _rules(judged.verdict.decision),
            self._service_asked(original, reply),
            f"established before, {_why(judged.verdict.decision)}",
        )
        self._keep(record)
        return record

    def allow(self, node: str, connection: NewConnection, at: float) -> tuple[FlowRecord, ...]:
        """Take in one new connection: a record for each direction that was decided on ``node``."""
        self._index()
        original, reply = connection.original, connection.reply
        if self._nodes.get(original.source) == node or self._plan is None:
            return ()  # N17: what a node itself sends is no matter of policies
        plain = FlowRecord(
            at,
            node,
            "allowed",
            "egress",
            original.protocol,
            self._end(original.source, original.source_port),
            self._end(reply.source, reply.source_port),
            0,
            (),
            self._service_asked(original, reply),
        )
        found = [self._judge(plain, direction, self._plan.policy) for direction in BOTH]
        local = [record for record in found if record is not None]
        decided = [record for record in local if record.rules] or local[-1:]
        for record in decided:
            self._keep(record)
        return tuple(decided)

    def _judge(self, plain: FlowRecord, direction: Direction, plan: PolicyPlan) -> FlowRecord | None:
        """The record of one direction; None when it is not decided on this node."""
        own, peer = plain.source, plain.destination
        if direction == "ingress":
            own, peer = peer, own
        pod = self._pods.get(own.address)
        if pod is None or pod.node != plain.node:
            return None
        port = plain.destination.port
        verdict = decide_policy(
            plan, subject=pod, direction=direction, peer=peer.address, protocol=plain.protocol, port=port
        )
        ruled = verdict.decision is not None and verdict.decision.matched
        text = "" if ruled else f"no policy decides for {pod.pod.key} about {direction}"
        return msgspec.structs.replace(
            plain, direction=direction, number=verdict.number, rules=_rules(verdict.decision), text=text
        )

    def _keep(self, record: FlowRecord) -> None:
        self.records.append(record)
        for rule in record.rules if record.verdict == "cut" else ():
            self._cut[record.verdict, record.direction, rule, record.node] += 1

    def _decision(self, number: int) -> Decision | None:
        known = self._plan.policy.decisions.get(number) if self._plan else None
        return known or self._retired.get(number)

    def _end(self, address: str, port: int) -> End:
        pod = self._pods.get(address)
        if pod is not None:
            return End(address, port, pod.pod.key)
        node = self._nodes.get(address)
        return End(address, port, f"node/{node}" if node else "")

    def _service_asked(self, original: Tuple, reply: Tuple) -> str:
        """The Service a client used: known when the address it asked for is not the one that answers."""
        asked, port = original.destination, original.destination_port
        if (asked, port) == (reply.source, reply.source_port):
            return ""
        if asked in self._nodes:
            return self._node_ports.get((original.protocol, port), "")
        return self._services.get((asked, original.protocol, port), "")

    def _services_behind(self, packet: Tuple) -> str:
        """The Services that have the packet's destination as an endpoint: the client used one of them."""
        return " or ".join(self._behind.get((packet.destination, packet.protocol, packet.destination_port), ()))

    def _event(self, record: FlowRecord, packet: Tuple) -> EventFact | None:
        own, peer = (
            (record.source, record.destination) if record.direction == "egress" else (record.destination, record.source)
        )
        pod = self._pods.get(own.address)
        if pod is None or not self._is_due((pod.uid, peer.address, record.direction, record.number), record.at):
            return None
        port = f"{packet.destination_port}/{packet.protocol}" if packet.destination_port else packet.protocol
        way = "egress to" if record.direction == "egress" else "ingress from"
        whom = f"{peer.name} ({peer.address})" if peer.name else peer.address
        audited = record.verdict == "audited"
        through = f" through Service {record.service}" if record.service else ""
        return EventFact(
            kind="Pod",
            namespace=pod.pod.namespace,
            name=pod.pod.name,
            uid=pod.uid,
            type="Normal" if audited else "Warning",
            reason="NetworkPolicyAudited" if audited else "NetworkPolicyDenied",
            message=f"{way} {whom} on {port}{through} {'would be denied' if audited else 'denied'}: {record.text}",
            component=COMPONENT,
            at=record.at,
        )

    def _is_due(self, key: tuple[str, str, str, int], at: float) -> bool:
        last = self._said.get(key)
        if last is not None and at - last < EVENT_EVERY_SECONDS:
            return False
        self._said[key] = at
        self._said.move_to_end(key)
        while len(self._said) > MAX_REMEMBERED_EVENTS:
            self._said.popitem(last=False)
        return True


def _verdict(word: int) -> str:
    if word & DENY == DENY:
        return "denied"
    return "audited" if word & AUDIT == AUDIT else "allowed"


def _why(decision: Decision | None) -> str:
    if decision is None:
        return "by a policy that is gone now"
    names = ", ".join(sorted({m.origin.ref.key for m in decision.matched}))
    if any(m.origin.ref.kind == "ClusterNetworkPolicy" for m in decision.matched):
        return f"by a rule of {names}"
    return f"isolated by {names}; no rule allows it"


def _rules(decision: Decision | None) -> tuple[str, ...]:
    return tuple(_rule(m.origin.ref, m.origin.path) for m in decision.matched) if decision else ()


def _rule(ref: Ref, path: object) -> str:
    return f"{ref} {path}".strip()


def replay(log: FlowLog, *, denied: bool) -> Iterator[FlowRecord]:
    """What a new watcher gets first."""
    return (record for record in tuple(log.records) if not denied or record.verdict != "allowed")


def format_counts(counts: Iterable[FlowCount]) -> str:
    """Prometheus text."""
    name = "podwire_policy_packets_total"
    lines = [f"# HELP {name} First packets of connections that policies decided about", f"# TYPE {name} counter"]
    for count in counts:
        labels = {"verdict": count.verdict, "direction": count.direction, "rule": count.rule}
        text = ",".join(f"{key}={json.dumps(value)}" for key, value in labels.items())
        lines.append(f"{name}{{{text}}} {count.packets}")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""
