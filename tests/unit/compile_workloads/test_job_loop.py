"""Jobs and CronJobs against an API in memory."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.simulate import START, World, job, quiet

from podwire.compile.workloads_job_status import format_indexes, parse_indexes

Json = dict[str, Any]


def status(world: World, name: str = "x") -> Json:
    found: Json = world.get("Job", name)["status"]
    return found


def conditions(world: World, name: str = "x") -> dict[str, str]:
    return {c["type"]: c.get("reason", "") for c in status(world, name).get("conditions", ()) if c["status"] == "True"}


def wait(world: World, seconds: float) -> None:
    world.now += seconds
    world.settle()


def until_ended(world: World, name: str = "x") -> None:
    for _ in range(20):
        world.settle()
        if {"Complete", "Failed"} & conditions(world, name).keys():
            return
        assert world.compiled is not None and world.compiled.wake_at is not None, "nothing will ever happen"
        world.now = world.compiled.wake_at
    raise AssertionError("does not end")


def test_a_job_runs_its_pod_and_completes() -> None:
    world = quiet()
    world.apply(job("x"))
    world.settle()
    assert (status(world)["active"], status(world)["ready"]) == (1, 1)
    (pod,) = world.all("Pod")
    assert pod["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "x"
    world.exits = lambda name: 0
    world.settle()
    assert conditions(world) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    found = status(world)
    assert (found["succeeded"], found.get("active", 0), found.get("failed", 0)) == (1, 0, 0)
    assert found["completionTime"] and found["startTime"]
    (pod,) = world.all("Pod")
    assert "finalizers" not in pod["metadata"] and pod["status"]["phase"] == "Succeeded"


def test_parallelism_bounds_what_runs_and_completions_what_is_started() -> None:
    world = quiet()
    world.apply(job("x", completions=5, parallelism=2))
    world.settle()
    assert len(world.pods()) == 2
    world.exits = lambda name: 0
    world.settle()
    assert len(world.pods()) == 5 and status(world)["succeeded"] == 5


def test_a_work_queue_ends_with_its_first_success_when_all_are_done() -> None:
    world = quiet()
    world.apply(job("x", parallelism=3))
    world.settle()
    first = world.pods()[0]
    world.exits = lambda name: 0 if name == first else None
    world.settle()
    assert conditions(world) == {} and len(world.pods()) == 3
    world.exits = lambda name: 0
    world.settle()
    assert "Complete" in conditions(world) and status(world)["succeeded"] == 3


def test_failures_back_off_and_end_at_the_limit() -> None:
    world = quiet()
    world.exits = lambda name: 3
    world.apply(job("x", backoffLimit=2))
    world.settle()
    assert len(world.pods()) == 1 and world.compiled is not None
    assert world.compiled.wake_at == START + 10
    wait(world, 10)
    assert len(world.pods()) == 2 and world.compiled.wake_at == START + 10 + 20
    wait(world, 20)
    assert conditions(world) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert status(world)["failed"] == 3


def test_a_deleted_pod_counts_as_failed_and_is_replaced() -> None:
    world = quiet()
    world.apply(job("x"))
    world.settle()
    world.delete("Pod", world.pods()[0])
    world.settle()
    assert status(world)["failed"] == 1 and status(world)["active"] == 1


def test_the_deadline_ends_everything() -> None:
    world = quiet()
    world.apply(job("x", activeDeadlineSeconds=30, completions=2, parallelism=2))
    world.settle()
    assert world.compiled is not None and world.compiled.wake_at == START + 30
    wait(world, 30)
    assert conditions(world)["Failed"] == "DeadlineExceeded"
    assert world.pods() == [] and status(world)["failed"] == 2


def test_a_finished_job_goes_after_its_time_to_live() -> None:
    world = quiet()
    world.exits = lambda name: 0
    world.apply(job("x", ttlSecondsAfterFinished=60))
    world.settle()
    assert world.compiled is not None and world.compiled.wake_at == START + 60
    wait(world, 60)
    assert world.all("Job") == []


def test_suspending_takes_the_pods_without_counting_them() -> None:
    world = quiet()
    world.apply(job("x", completions=3, parallelism=3))
    world.settle()
    world.edit("Job", "x", lambda j: j["spec"].update(suspend=True))
    world.settle()
    assert world.pods() == [] and status(world).get("failed", 0) == 0
    assert conditions(world) == {"Suspended": "JobSuspended"}
    wait(world, 100)
    world.edit("Job", "x", lambda j: j["spec"].update(suspend=False))
    world.settle()
    assert len(world.pods()) == 3 and conditions(world) == {}


def test_lower_parallelism_takes_pods_without_counting_them() -> None:
    world = quiet()
    world.apply(job("x", completions=9, parallelism=5))
    world.settle()
    world.edit("Job", "x", lambda j: j["spec"].update(parallelism=2))
    world.settle()
    assert len(world.pods()) == 2 and status(world).get("failed", 0) == 0


def test_every_index_runs_once_and_again_when_it_failed() -> None:
    world = quiet()
    world.exits = lambda name: 1 if name.startswith("x-1-") else 0
    world.apply(job("x", completions=4, parallelism=4, completionMode="Indexed", backoffLimit=1))
    world.settle()
    assert status(world)["completedIndexes"] == "0,2,3" and status(world)["succeeded"] == 3
    world.exits = lambda name: 0
    wait(world, 10)
    assert status(world)["completedIndexes"] == "0-3" and "Complete" in conditions(world)
    pod = next(p for p in world.all("Pod") if p["metadata"]["name"].startswith("x-2-"))
    assert pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] == "2"
    assert pod["spec"]["hostname"] == "x-2"
    assert pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"


@pytest.mark.parametrize(
    ("action", "failed", "reason"), [("FailJob", 1, "PodFailurePolicy"), ("Ignore", 0, ""), ("Count", 1, "")]
)
def test_failure_policies(action: str, failed: int, reason: str) -> None:
    world = quiet()
    world.exits = lambda name: 42
    rule = {"action": action, "onExitCodes": {"operator": "In", "values": [42]}}
    world.apply(job("x", podFailurePolicy={"rules": [rule]}))
    world.settle()
    assert status(world).get("failed", 0) == failed
    assert conditions(world).get("Failed", "") == reason


def test_deleting_a_job_leaves_no_pod_behind() -> None:
    world = quiet()
    world.apply(job("x", completions=2, parallelism=2))
    world.settle()
    world.delete("Job", "x")
    world.settle()
    assert world.pods() == []


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32), st.booleans())
def test_jobs_end_with_the_right_counts(completions: int, parallelism: int, seed: int, indexed: bool) -> None:
    world, dice = quiet(), random.Random(seed)
    fates: dict[str, int] = {}
    world.exits = lambda name: fates.setdefault(name, dice.choice([0, 0, 1]))
    mode = "Indexed" if indexed else "NonIndexed"
    world.apply(job("x", completions=completions, parallelism=parallelism, completionMode=mode, backoffLimit=50))
    until_ended(world)
    found = status(world)
    assert found["succeeded"] == completions
    assert found.get("failed", 0) == sum(code == 1 for code in fates.values())
    assert not found.get("uncountedTerminatedPods") and found.get("active", 0) == 0


@given(st.sets(st.integers(0, 60)))
def test_indexes_survive_their_text(indexes: set[int]) -> None:
    assert parse_indexes(format_indexes(indexes)) == indexes


def cron(**spec: Any) -> Json:
    inner = {"spec": {"template": job("y")["spec"]["template"]}, "metadata": {"labels": {"made": "by-cron"}}}
    meta = {"name": "c"}
    body = {"schedule": "*/5 * * * *", "jobTemplate": inner, **spec}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta, "spec": body}


def jobs(world: World) -> list[str]:
    return [j["metadata"]["name"] for j in world.all("Job")]


def advance(world: World, times: int = 1) -> None:
    for _ in range(times):
        assert world.compiled is not None and world.compiled.wake_at is not None
        world.now = world.compiled.wake_at
        world.settle()


def test_a_cron_job_starts_a_job_when_its_time_comes() -> None:
    world = quiet()
    world.apply(cron())
    world.settle()
    assert jobs(world) == []
    advance(world)
    assert jobs(world) == [f"c-{int(world.now) // 60}"] and world.now == START + 300
    (made,) = world.all("Job")
    assert made["metadata"]["labels"]["made"] == "by-cron"
    assert made["metadata"]["ownerReferences"][0]["name"] == "c"
    found = world.get("CronJob", "c")["status"]
    assert [ref["name"] for ref in found["active"]] == jobs(world)
    assert found["lastScheduleTime"] == "2027-01-15T08:05:00Z"
    world.exits = lambda name: 0
    world.settle()
    found = world.get("CronJob", "c")["status"]
    assert not found.get("active") and found["lastSuccessfulTime"] == "2027-01-15T08:05:00Z"


def test_forbid_waits_replace_replaces_allow_adds() -> None:
    for policy, running in (("Forbid", 1), ("Replace", 1), ("Allow", 3)):
        world = quiet()
        world.apply(cron(concurrencyPolicy=policy))
        world.settle()
        advance(world, 3)
        assert len(jobs(world)) == running
        newest = f"c-{int(world.now) // 60}"
        assert (newest in jobs(world)) == (policy != "Forbid")


def test_only_the_latest_missed_time_is_made_up_and_none_beyond_the_deadline() -> None:
    for deadline, expected in ((None, 1), (400, 1), (10, 0)):
        world = quiet()
        world.apply(cron(startingDeadlineSeconds=deadline) if deadline else cron())
        world.settle()
        wait(world, 3 * 3600 + 60)
        assert len(jobs(world)) == expected


def test_a_suspended_cron_job_starts_nothing() -> None:
    world = quiet()
    world.apply(cron(suspend=True))
    world.settle()
    wait(world, 3600)
    assert jobs(world) == []


def test_history_limits_keep_the_newest() -> None:
    world = quiet()
    world.exits = lambda name: 0
    world.apply(cron(successfulJobsHistoryLimit=2))
    world.settle()
    advance(world, 5)
    last = int(world.now) // 60
    assert jobs(world) == [f"c-{last - 5}", f"c-{last}"]


def test_intervals() -> None:
    world = quiet()
    world.apply(cron(schedule="@every 90s"))
    world.settle()
    advance(world, 2)
    assert world.now == START + 180 and len(jobs(world)) == 2
