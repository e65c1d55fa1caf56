"""The closed sets of an explanation: hops, verdicts, what a client observes.

A hop names the object and field behind it. ``evidence`` says how podwire knows: ``computed`` from the plans that the
drivers execute.
"""

from typing import Literal

import msgspec

from podwire.base import Origin, Ref, join_port

HopKind = Literal[
    "dns", "edge", "link", "service", "endpoint", "egress", "nat", "ingress", "listener", "route", "answer"
]
Verdict = Literal["allowed", "denied", "unknown"]
Observes = Literal["connects", "refused", "dropped", "nxdomain", "servfail", "no-route", "unknown"]
"""What the client sees: a connection, a reset at once, silence, a name that does not exist, ..."""


class Hop(msgspec.Struct, frozen=True):
    """One step of the way: its verdict, one sentence of why, and where that comes from."""

    kind: HopKind
    verdict: Verdict
    text: str
    origins: tuple[Origin, ...] = ()
    code: str = ""
    notes: tuple[str, ...] = ()
    evidence: Literal["computed", "observed", "probed"] = "computed"


class Branch(msgspec.Struct, frozen=True):
    """What happens when the connection is sent to one particular backend (or to none: ``pod`` and ``address`` empty).

    ``status`` is the HTTP status when the answer comes from a proxy's own decision or 0 when the backend decides.
    ``source``: the address that the listener sees; empty behind a proxy, and where nothing is reached.
    """

    address: str
    pod: Ref | None
    hops: tuple[Hop, ...]
    observes: Observes
    status: int = 0
    source: str = ""

    @property
    def verdict(self) -> Verdict:
        """Denied as soon as one hop denies; unknown when a fact is missing."""
        verdicts = {hop.verdict for hop in self.hops}
        if "denied" in verdicts:
            return "denied"
        return "unknown" if "unknown" in verdicts or self.observes == "unknown" else "allowed"


class Party(msgspec.Struct, frozen=True, order=True):
    """One end: a pod (with its node), or the host outside the cluster (``pod`` None)."""

    name: str
    addresses: tuple[str, ...]
    node: str = ""
    pod: Ref | None = None


class Target(msgspec.Struct, frozen=True):
    """What is asked for: ``host`` is a name or an address; ``path`` matters to L7 proxies only."""

    host: str
    port: int
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    scheme: Literal["", "http", "https"] = ""
    path: str = "/"
    authority: str = ""

    def __str__(self) -> str:
        """As it would be typed."""
        if self.scheme:
            return f"{self.scheme}://{join_port(self.host, self.port)}{self.path}"
        return f"{self.protocol.lower()}://{join_port(self.host, self.port)}"


class Trace(msgspec.Struct, frozen=True):
    """The whole answer: the common way, then one branch per distinct outcome with a witness each."""

    source: Party
    target: Target
    hops: tuple[Hop, ...]
    branches: tuple[Branch, ...]
    assumptions: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Denied when every branch is; unknown when branches disagree or a fact is missing."""
        if any(hop.verdict == "denied" for hop in self.hops):
            return "denied"
        verdicts = {branch.verdict for branch in self.branches}
        return verdicts.pop() if len(verdicts) == 1 else "unknown"
