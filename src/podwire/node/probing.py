"""When a probe runs and what its results mean. Pure: results and times go in, decisions come out.

Rules:

1. A result counts when it has been seen ``success_threshold`` or ``failure_threshold`` times in a row.
2. Readiness begins as failed, liveness as passed, startup as undecided.
3. Until its first success a readiness or startup probe runs more often than its period (30 ms, doubling, up to the
   period), so that a pod that is ready early is seen early. Failures still count once a period only: no container is
   given less time than its manifest says.

Source: kubernetes ``pkg/kubelet/prober/worker.go``.
"""

from enum import Enum
from typing import Final, Literal

from podwire.plan.node import Probe

ProbeKind = Literal["readiness", "liveness", "startup"]
FIRST_DELAY_SECONDS: Final = 0.03


class Verdict(Enum):
    """What a result changed."""

    SAME = "same"
    PASSED = "passed"
    FAILED = "failed"


class ProbeState:
    """The count of one probe over one run of a container."""

    def __init__(self, probe: Probe, kind: ProbeKind, now: float) -> None:
        """``now`` is when the container started, in seconds of any steady clock."""
        self._probe = probe
        self._eager = kind != "liveness"
        self._passed: bool | None = {"readiness": False, "liveness": True, "startup": None}[kind]
        self._quick = FIRST_DELAY_SECONDS
        self._run = (None, 0) if kind == "startup" else (self._passed, 0)
        self._counted_at = now

    @property
    def first_delay_seconds(self) -> float:
        """How long to wait before the first check."""
        return self._probe.initial_delay_seconds

    def next_delay_seconds(self) -> float:
        """How long to wait before the next check."""
        if not self._eager:
            return self._probe.period_seconds
        delay, self._quick = self._quick, self._quick * 2
        return min(delay, self._probe.period_seconds)

    def counts(self, passed: bool, now: float) -> bool:
        """Whether a result at ``now`` is one that the manifest's thresholds speak of."""
        return passed or not self._eager or now - self._counted_at >= self._probe.period_seconds

    def observe(self, passed: bool, now: float) -> Verdict:
        """Take one result."""
        if not self.counts(passed, now):
            self._run = self._run if self._run[0] is False else (False, 0)
            return Verdict.SAME
        self._counted_at = now
        self._eager = self._eager and not passed
        before, count = self._run
        self._run = (passed, count + 1 if before == passed else 1)
        needed = self._probe.success_threshold if passed else self._probe.failure_threshold
        if self._run[1] < needed or self._passed == passed:
            return Verdict.SAME
        self._passed = passed
        return Verdict.PASSED if passed else Verdict.FAILED
