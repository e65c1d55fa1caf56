"""batch/v1: Job, CronJob."""

from typing import Annotated

from podwire.kube.core import ObjectReference
from podwire.kube.meta import Condition, KubeObject, LabelSelector, ObjectMeta
from podwire.kube.pods import PodTemplateSpec
from podwire.kube.struct import KubeStruct, api

ATOMIC = api(list_type="atomic")
CONDITIONS = api(merge_key="type", list_type="atomic")


class PodFailurePolicyOnExitCodes(KubeStruct, frozen=True):
    """Exit codes a rule is about."""

    container_name: str | None = None
    operator: Annotated[str, api(required=True)] = ""
    values: Annotated[tuple[int, ...], api(required=True, list_type="set")] = ()


class PodFailurePolicyOnPodConditions(KubeStruct, frozen=True):
    """A pod condition a rule is about."""

    type: Annotated[str, api(required=True)] = ""
    status: str = ""


class PodFailurePolicyRule(KubeStruct, frozen=True):
    """What a failed pod of a certain kind means: FailJob, FailIndex, Ignore or Count."""

    action: Annotated[str, api(required=True)] = ""
    on_exit_codes: PodFailurePolicyOnExitCodes | None = None
    on_pod_conditions: Annotated[tuple[PodFailurePolicyOnPodConditions, ...], ATOMIC] = ()


class PodFailurePolicy(KubeStruct, frozen=True):
    """Rules in order; the first that matches a failed pod counts."""

    rules: Annotated[tuple[PodFailurePolicyRule, ...], api(required=True, list_type="atomic")] = ()


class SuccessPolicyRule(KubeStruct, frozen=True):
    """Indexes, or a number of them, that make a Job succeed early."""

    succeeded_indexes: str | None = None
    succeeded_count: int | None = None


class SuccessPolicy(KubeStruct, frozen=True):
    """When an Indexed Job counts as succeeded before all indexes did."""

    rules: Annotated[tuple[SuccessPolicyRule, ...], api(required=True, list_type="atomic")] = ()


class JobSpec(KubeStruct, frozen=True):
    """Desired state of a Job."""

    parallelism: int | None = None
    completions: int | None = None
    active_deadline_seconds: int | None = None
    pod_failure_policy: PodFailurePolicy | None = None
    success_policy: SuccessPolicy | None = None
    backoff_limit: int | None = None
    backoff_limit_per_index: int | None = None
    max_failed_indexes: int | None = None
    selector: LabelSelector | None = None
    manual_selector: bool | None = None
    template: Annotated[PodTemplateSpec, api(required=True)] = PodTemplateSpec()
    ttl_seconds_after_finished: int | None = None
    completion_mode: str | None = None
    suspend: bool | None = None
    pod_replacement_policy: str | None = None
    managed_by: str | None = None


class UncountedTerminatedPods(KubeStruct, frozen=True):
    """Pods that ended and are not in the counters yet."""

    succeeded: Annotated[tuple[str, ...], api(list_type="set")] = ()
    failed: Annotated[tuple[str, ...], api(list_type="set")] = ()


class JobStatus(KubeStruct, frozen=True):
    """Observed state of a Job."""

    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    start_time: str | None = None
    completion_time: str | None = None
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    terminating: int | None = None
    completed_indexes: str = ""
    failed_indexes: str | None = None
    uncounted_terminated_pods: UncountedTerminatedPods | None = None
    ready: int | None = None


class Job(KubeObject, frozen=True):
    """Runs pods until enough of them succeeded."""

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class JobTemplateSpec(KubeStruct, frozen=True):
    """What Jobs of a CronJob look like."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()


class CronJobSpec(KubeStruct, frozen=True):
    """Desired state of a CronJob."""

    schedule: Annotated[str, api(required=True)] = ""
    time_zone: str | None = None
    starting_deadline_seconds: Annotated[int | None, api(format="int64")] = None
    concurrency_policy: str = ""
    suspend: bool | None = None
    job_template: Annotated[JobTemplateSpec, api(required=True)] = JobTemplateSpec()
    successful_jobs_history_limit: int | None = None
    failed_jobs_history_limit: int | None = None


class CronJobStatus(KubeStruct, frozen=True):
    """Observed state of a CronJob."""

    active: Annotated[tuple[ObjectReference, ...], ATOMIC] = ()
    last_schedule_time: str | None = None
    last_successful_time: str | None = None


class CronJob(KubeObject, frozen=True):
    """Makes Jobs at set times."""

    spec: CronJobSpec = CronJobSpec()
    status: CronJobStatus = CronJobStatus()
