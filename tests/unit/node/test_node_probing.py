"""Thresholds and rhythm of probes, and the restart back-off."""

from podwire.node.backoff import Backoff
from podwire.node.probing import ProbeState, Verdict
from podwire.plan.node import HttpCheck, Probe

CHECK = HttpCheck(80)


def test_readiness_passes_at_the_success_threshold() -> None:
    state = ProbeState(Probe(CHECK, success_threshold=2), "readiness", 0)
    assert state.observe(True, 0) is Verdict.SAME
    assert state.observe(True, 10) is Verdict.PASSED
    assert state.observe(True, 20) is Verdict.SAME


def test_readiness_fails_after_the_failure_threshold_in_a_row() -> None:
    state = ProbeState(Probe(CHECK, failure_threshold=3), "readiness", 0)
    assert state.observe(True, 0) is Verdict.PASSED
    results = [state.observe(passed, 10.0 * i) for i, passed in enumerate((False, False, True, False, False, False), 1)]
    assert results == [Verdict.SAME] * 5 + [Verdict.FAILED]


def test_eager_failures_before_the_first_success_count_once_a_period() -> None:
    state = ProbeState(Probe(CHECK, period_seconds=10, failure_threshold=2), "startup", 0)
    assert all(state.observe(False, t / 10) is Verdict.SAME for t in range(1, 100))
    assert state.observe(False, 10) is Verdict.SAME
    assert state.observe(False, 19.9) is Verdict.SAME
    assert state.observe(False, 20) is Verdict.FAILED


def test_eager_delays_double_up_to_the_period_until_the_first_success() -> None:
    state = ProbeState(Probe(CHECK, period_seconds=0.2), "readiness", 0)
    delays = []
    for _ in range(5):
        state.observe(False, 0)
        delays.append(state.next_delay_seconds())
    assert delays == [0.03, 0.06, 0.12, 0.2, 0.2]
    state.observe(True, 0)
    assert state.next_delay_seconds() == 0.2


def test_liveness_keeps_its_rhythm_and_every_failure_counts() -> None:
    state = ProbeState(Probe(CHECK, period_seconds=5, failure_threshold=2, initial_delay_seconds=7), "liveness", 0)
    assert state.first_delay_seconds == 7
    assert state.next_delay_seconds() == 5
    assert [state.observe(False, 0), state.observe(False, 5)] == [Verdict.SAME, Verdict.FAILED]


def test_back_off_doubles_to_five_minutes_and_forgets_after_ten() -> None:
    backoff = Backoff()
    assert [backoff.next_seconds(1) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert backoff.next_seconds(601) == 0
    assert backoff.next_seconds(1) == 10
