"""Job, CronJob, DaemonSet, PodDisruptionBudget, PriorityClass: defaults, validation, columns, schedules."""

from datetime import UTC, datetime
from typing import Any

import pytest

from podwire.kube.columns import cells, columns_of
from podwire.kube.cron import CronError, parse_schedule
from podwire.kube.defaults import default_object
from podwire.kube.jobs import identify_job
from podwire.kube.validate import validate

Obj = dict[str, Any]
TEMPLATE: Obj = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
}


def made(kind: str, spec: Obj, name: str = "x", **top: Any) -> Obj:
    versions = {"DaemonSet": "apps/v1", "PodDisruptionBudget": "policy/v1", "PriorityClass": "scheduling.k8s.io/v1"}
    meta = {"name": name, "namespace": "default", "uid": "u-1"}
    if kind == "PriorityClass":
        del meta["namespace"]
    body = {"apiVersion": versions.get(kind, "batch/v1"), "kind": kind, "metadata": meta, **top}
    if spec:
        body["spec"] = spec
    return default_object(identify_job(body) if kind == "Job" else body)


def errors(value: Obj, old: Obj | None = None) -> list[str]:
    return [str(error) for error in validate(value, old)]


def test_a_job_gets_its_defaults_and_a_selector_of_its_own() -> None:
    job = made("Job", {"template": TEMPLATE})
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 6)
    assert (spec["completionMode"], spec["suspend"], spec["podReplacementPolicy"]) == (
        "NonIndexed",
        False,
        "TerminatingOrFailed",
    )
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}
    assert spec["template"]["metadata"]["labels"] == {
        "app": "x",
        "batch.kubernetes.io/controller-uid": "u-1",
        "controller-uid": "u-1",
        "batch.kubernetes.io/job-name": "x",
        "job-name": "x",
    }
    assert errors(job) == []
    assert "completions" not in made("Job", {"template": TEMPLATE, "parallelism": 3})["spec"]


def test_a_job_must_not_restart_its_pods_for_ever() -> None:
    always = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Always"}}
    said = errors(made("Job", {"template": always}))
    assert said == ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']


def test_the_template_and_completions_of_a_job_never_change() -> None:
    job = made("Job", {"template": TEMPLATE, "completions": 2})
    more = {**job, "spec": {**job["spec"], "completions": 3}}
    assert errors(more, job) == ["spec.completions: Invalid value: 3: field is immutable"]
    wider = {**job, "spec": {**job["spec"], "parallelism": 5}}
    assert errors(wider, job) == []


def test_an_indexed_job_needs_completions() -> None:
    said = errors(made("Job", {"template": TEMPLATE, "completionMode": "Indexed", "parallelism": 2}))
    assert said == ["spec.completions: Required value: when completion mode is Indexed"]


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ({"action": "Never"}, "Unsupported value"),
        ({"action": "Count"}, "specifying one of OnExitCodes and OnPodConditions is required"),
        ({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [0]}}, "must not be 0"),
        ({"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}, "backoffLimitPerIndex"),
    ],
)
def test_failure_policies_are_checked(rule: Obj, part: str) -> None:
    said = errors(made("Job", {"template": TEMPLATE, "podFailurePolicy": {"rules": [rule]}}))
    assert any(part in line for line in said), said


def cron(**spec: Any) -> Obj:
    return made("CronJob", {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": TEMPLATE}}, **spec})


def test_a_cron_job_gets_its_defaults() -> None:
    spec = cron()["spec"]
    assert (spec["concurrencyPolicy"], spec["suspend"]) == ("Allow", False)
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 1)
    assert errors(cron()) == []
    assert errors(cron(timeZone="Europe/Berlin", schedule="@daily")) == []


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ({"schedule": "* * * *"}, "expected exactly 5 fields, found 4"),
        ({"schedule": "61 * * * *"}, "end of range (61) above maximum (59): 61"),
        ({"schedule": "TZ=UTC 0 * * * *"}, "use timeZone field instead"),
        ({"schedule": "@never"}, "unrecognized descriptor: @never"),
        ({"timeZone": "Mars/Olympus"}, "unknown time zone Mars/Olympus"),
        ({"concurrencyPolicy": "Maybe"}, "Unsupported value"),
    ],
)
def test_cron_jobs_are_checked(spec: Obj, part: str) -> None:
    said = errors(cron(**spec))
    assert len(said) == 1 and part in said[0], said


def when(text: str, after: str, zone: str = "") -> str:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp()
    found = parse_schedule(text).next_after(moment, zone)
    assert found is not None
    return datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("* * * * *", "2026-11-24T10:00:00", "2026-11-24 10:01"),
        ("*/15 * * * *", "2026-11-24T10:07:30", "2026-11-24 10:15"),
        ("0 0 1 1 *", "2026-11-24T10:00:00", "2027-01-01 00:00"),
        ("@weekly", "2026-11-24T10:00:00", "2026-11-29 00:00"),
        ("30 9-17/4 * * mon-fri", "2026-11-27T18:00:00", "2026-11-30 09:30"),
        ("0 0 13 * 5", "2026-11-24T00:00:00", "2026-11-27 00:00"),
        ("0 0 29 2 *", "2026-11-24T00:00:00", "2028-02-29 00:00"),
        ("0 12 * jan,MAR ?", "2026-11-24T00:00:00", "2027-01-01 12:00"),
        ("@every 90m", "2026-11-24T10:00:00", "2026-11-24 11:30"),
        ("5/20 * * * *", "2026-11-24T10:06:00", "2026-11-24 10:25"),
    ],
)
def test_the_next_time(text: str, after: str, expected: str) -> None:
    assert when(text, after) == expected


def test_time_zones_and_changes_of_clocks() -> None:
    assert when("0 9 * * *", "2026-07-01T00:00:00", "Europe/Berlin") == "2026-07-01 07:00"
    # 2:30 does not exist on 2026-03-29 in Berlin.
    assert when("30 2 * * *", "2026-03-28T12:00:00", "Europe/Berlin") == "2026-03-30 00:30"


def test_a_day_that_never_comes_has_no_time() -> None:
    assert parse_schedule("0 0 31 2 *").next_after(0) is None
    with pytest.raises(CronError):
        parse_schedule("")


def test_a_daemon_set_rolls_one_node_at_a_time_by_default() -> None:
    template = {**TEMPLATE, "spec": {"containers": TEMPLATE["spec"]["containers"]}}
    value = made("DaemonSet", {"selector": {"matchLabels": {"app": "x"}}, "template": template})
    assert value["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
    }
    assert errors(value) == []
    both = {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}, "type": "RollingUpdate"}
    said = errors({**value, "spec": {**value["spec"], "updateStrategy": both}})
    assert said == [
        "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
    ]


def test_a_budget_has_one_bound() -> None:
    said = errors(made("PodDisruptionBudget", {"minAvailable": 1, "maxUnavailable": "50%"}))
    assert "minAvailable and maxUnavailable cannot be both set" in said[0]
    assert errors(made("PodDisruptionBudget", {"minAvailable": "50%", "selector": {}})) == []


def test_high_priorities_belong_to_the_system() -> None:
    assert errors(made("PriorityClass", {}, value=1_000_000_000)) == []
    assert "maximum allowed value" in errors(made("PriorityClass", {}, value=1_000_000_001))[0]


def row(value: Obj, now: float = 1000.0) -> dict[str, Any]:
    names = [column.name for column in columns_of(value["kind"])]
    return dict(zip(names, cells(value["kind"], value, now), strict=True))


def test_rows() -> None:
    status = {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
    job = row({**made("Job", {"template": TEMPLATE, "completions": 2}), "status": status})
    assert (job["Status"], job["Completions"]) == ("Complete", "1/2")
    found = row({**cron(), "status": {"active": [{}], "lastScheduleTime": "1970-01-01T00:16:30Z"}})
    assert (found["Schedule"], found["Active"], found["Last Schedule"]) == ("* * * * *", 1, "10s")
    budget = row({**made("PodDisruptionBudget", {"minAvailable": 1}), "status": {"disruptionsAllowed": 2}})
    assert (budget["Min Available"], budget["Max Unavailable"], budget["Allowed Disruptions"]) == ("1", "N/A", 2)
