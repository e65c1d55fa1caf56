"""CronJob to Jobs, at the times of its schedule.

Rules:

1. The name of a Job is a function of the time it is for, so nothing is started twice.
2. After a pause only the latest missed time counts, and only within ``startingDeadlineSeconds``.
3. ``Forbid`` waits for the Job that runs and then starts the latest missed time; ``Replace`` deletes it first.
4. Finished Jobs beyond the history limits go, oldest first.

Source: kubernetes ``pkg/controller/cronjob`` (cronjob_controllerv2.go, utils.go).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial

from podwire.base import FieldPath, Origin, Ref
from podwire.compile.context import Context
from podwire.compile.roster import roster_of
from podwire.compile.statuses import format_time, merge_status, owner_reference, parse_time, to_json
from podwire.compile.workloads_job_status import ended_condition
from podwire.compile.workloads_pods import removal_key
from podwire.kube import CronJob, Job
from podwire.kube.core import ObjectReference
from podwire.kube.cron import CronError, Schedule, find_zone, parse_schedule
from podwire.plan import Create, Json, Merge, Remove, Write

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_WINDOWS = (3600.0, 86_400.0, 32 * 86_400.0, 366 * 86_400.0)


class _Times:
    """The last and the next time of a schedule, looked up again only when the next one has come."""

    def __init__(self, schedule: Schedule, zone: str) -> None:
        self._schedule, self._zone = schedule, zone
        self._known: tuple[float, float, float | None, float | None] | None = None

    def look(self, now: float, earliest: float) -> tuple[float | None, float | None]:
        """``(last, next)``: the latest time in ``(earliest, now]`` and the first after ``now``."""
        known = self._known
        if known is None or known[0] != earliest or now < known[1] or (known[3] is not None and now >= known[3]):
            following = self._schedule.next_after(now, self._zone)
            known = self._known = (earliest, now, self._latest(now, earliest), following)
        return known[2], known[3]

    def _latest(self, now: float, earliest: float) -> float | None:
        if self._schedule.every_seconds:
            return self._latest_of_interval(now, earliest)
        for window in (*_WINDOWS, now - earliest):
            start = max(earliest, now - window)
            found = self._schedule.next_after(start, self._zone)
            latest = None
            while found is not None and found <= now:
                latest, found = found, self._schedule.next_after(found, self._zone)
            if latest is not None or start == earliest:
                return latest
        return None

    def _latest_of_interval(self, now: float, earliest: float) -> float | None:
        passed = (now - int(earliest)) // self._schedule.every_seconds
        return int(earliest) + passed * self._schedule.every_seconds if passed >= 1 else None


def compile_cron_job(context: Context, value: CronJob) -> tuple[dict[str, Write], float | None]:
    """The writes of one CronJob and when it starts the next Job."""
    if value.metadata.deletion_timestamp is not None:
        return {}, None
    jobs = tuple(c for c in roster_of(context).others_of(value) if isinstance(c, Job))
    running = tuple(job for job in jobs if ended_condition(job) is None and SCHEDULED_AT in job.metadata.annotations)
    writes: dict[str, Write] = dict(_expired(context, value, jobs))
    key = f"status/CronJob/{value.key}"
    patch = context.memo.unit(f"write/{key}", (value, jobs), partial(_status, value, jobs, running))
    if patch is not None:
        writes[key] = patch
    if value.spec.suspend:
        return writes, None
    try:
        times = context.memo.unit(
            f"times/{value.key}", (value.spec.schedule, value.spec.time_zone), partial(_parse, value)
        )
    except CronError:  # stored before it was checked
        return writes, None
    due, following = times.look(context.snapshot.now, _earliest(value, jobs))
    if value.spec.schedule.startswith("@every") and due is None:
        every = parse_schedule(value.spec.schedule).every_seconds
        following = int(_earliest(value, jobs)) + every
    if due is not None:
        writes.update(_start(context, value, due, running))
    return writes, following


def _parse(value: CronJob) -> _Times:
    zone = value.spec.time_zone or ""
    find_zone(zone)
    return _Times(parse_schedule(value.spec.schedule), zone)


def _earliest(value: CronJob, jobs: Iterable[Job]) -> float:
    """What was scheduled up to here is done: the last time recorded, or that of a Job just made."""
    made = (parse_time(job.metadata.annotations.get(SCHEDULED_AT)) for job in jobs)
    recorded = parse_time(value.status.last_schedule_time)
    return max(recorded, parse_time(value.metadata.creation_timestamp), *made)


def _start(context: Context, value: CronJob, due: float, running: tuple[Job, ...]) -> Iterator[tuple[str, Write]]:
    deadline = value.spec.starting_deadline_seconds
    if deadline is not None and due + deadline < context.snapshot.now:
        return
    policy = value.spec.concurrency_policy or "Allow"
    if running and policy == "Forbid":
        return
    if running and policy == "Replace":
        for job in running:
            yield _remove(context, value, job, "spec.concurrencyPolicy")
        return
    name = f"{value.metadata.name}-{int(due) // 60}"
    if value.spec.schedule.startswith("@every"):
        name = f"{value.metadata.name}-{int(due)}"
    key = f"create/Job/{value.metadata.namespace}/{name}"
    yield key, context.memo.unit(f"write/{key}", (value,), partial(_create, value, name, due))


def _create(value: CronJob, name: str, due: float) -> Create:
    template = value.spec.job_template
    zone = find_zone(value.spec.time_zone or "")
    when = datetime.fromtimestamp(due, zone).isoformat().replace("+00:00", "Z")
    body: Json = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": value.metadata.namespace,
            "labels": dict(template.metadata.labels),
            "annotations": {**template.metadata.annotations, SCHEDULED_AT: when},
            "ownerReferences": [owner_reference(value)],
        },
        "spec": to_json(template.spec),
    }
    origin = Origin(value.ref, FieldPath("spec.schedule"))
    return Create(origin, Ref("Job", value.metadata.namespace, name), "batch/v1", body)


def _remove(context: Context, value: CronJob, job: Job, path: str) -> tuple[str, Write]:
    key = removal_key("Job", job.metadata.namespace, job.metadata.name)
    make = partial(Remove, Origin(value.ref, FieldPath(path)), job.ref, "batch/v1", job.metadata.uid)
    return key, context.memo.unit(f"write/{key}", (job.metadata.uid,), make)


def _expired(context: Context, value: CronJob, jobs: tuple[Job, ...]) -> Iterator[tuple[str, Write]]:
    """Rule 4; only what the status already knows of, so that no time is started again."""
    recorded = parse_time(value.status.last_schedule_time)
    limits = (
        ("Complete", "successfulJobsHistoryLimit", value.spec.successful_jobs_history_limit, 3),
        ("Failed", "failedJobsHistoryLimit", value.spec.failed_jobs_history_limit, 1),
    )
    for kind, field, written, default in limits:
        ended = [j for j in jobs if (c := ended_condition(j)) is not None and c.type == kind]
        ended.sort(key=lambda job: (parse_time(job.status.start_time), job.metadata.name))
        for job in ended[: max(0, len(ended) - (default if written is None else written))]:
            if parse_time(job.metadata.annotations.get(SCHEDULED_AT)) <= recorded:
                yield _remove(context, value, job, f"spec.{field}")


def _status(value: CronJob, jobs: tuple[Job, ...], running: tuple[Job, ...]) -> Merge | None:
    active = tuple(
        ObjectReference(
            kind="Job",
            namespace=job.metadata.namespace,
            name=job.metadata.name,
            uid=job.metadata.uid,
            api_version="batch/v1",
        )
        for job in running
    )
    scheduled = [parse_time(job.metadata.annotations.get(SCHEDULED_AT)) for job in jobs]
    latest = max([parse_time(value.status.last_schedule_time), *scheduled])
    ended = [parse_time(job.status.completion_time) for job in jobs if job.status.completion_time]
    success = max([parse_time(value.status.last_successful_time), *ended])
    return merge_status(
        value,
        {
            "active": active,
            "last_schedule_time": format_time(latest) if latest else None,
            "last_successful_time": format_time(success) if success else None,
        },
    )
