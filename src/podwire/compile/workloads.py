"""Workloads to pods, pods to nodes, as writes.

Rules:

1. Controllers look at pods themselves, not at the status another controller wrote: one step fewer to converge.
2. Every write is a unit of the memo, so a time inside it does not change while it is under way.
3. Which objects are written is decided by ``settings.owned``: ``workloads`` and ``scheduling``.
"""

from functools import partial

from podwire.base import Finding
from podwire.compile.claims import compile_claims
from podwire.compile.context import Context, Piece
from podwire.compile.deeds import deeds_of
from podwire.compile.roster import roster_of
from podwire.compile.workloads_adoption import compile_adoption
from podwire.compile.workloads_budgets import compile_budgets
from podwire.compile.workloads_daemonsets import compile_daemon_set
from podwire.compile.workloads_deployments import compile_deployment
from podwire.compile.workloads_evictions import compile_evictions
from podwire.compile.workloads_jobs import compile_job, release_orphans
from podwire.compile.workloads_pods import PodCounts
from podwire.compile.workloads_replicasets import compile_replica_set, count_replica_set
from podwire.compile.workloads_retention import compile_retention
from podwire.compile.workloads_scheduling import compile_scheduling
from podwire.compile.workloads_statefulsets import compile_stateful_set
from podwire.kube import CronJob, DaemonSet, Deployment, Job, ReplicaSet, StatefulSet
from podwire.plan import Write


def compile_workloads(context: Context) -> Piece:
    """Creates, deletes, bindings and status of Deployments, ReplicaSets, StatefulSets and unbound pods."""
    owned = context.snapshot.settings.owned
    writes: dict[str, Write] = {}
    findings: list[Finding] = []
    wakes: list[float] = []
    if owned.workloads:
        _controllers(context, writes, findings, wakes)
    if owned.scheduling:
        piece = compile_scheduling(context)
        writes.update(piece.writes)
        findings.extend(piece.findings)
    if owned.events:
        deeds_of(context).note(context, writes)
    return Piece(writes=writes, findings=tuple(findings), wake_at=min(wakes, default=None))


def _controllers(context: Context, writes: dict[str, Write], findings: list[Finding], wakes: list[float]) -> None:
    counts = _replica_sets(context, writes)
    wakes.extend(c.wake_at for c in counts.values() if c.wake_at is not None)
    snapshot, roster = context.snapshot, roster_of(context)
    for deployment in snapshot.all(Deployment).values():
        children = roster.others_of(deployment)
        sets = tuple((c, counts[c.key]) for c in children if isinstance(c, ReplicaSet))
        made, wake_at = compile_deployment(context, deployment, sets)
        writes.update(made)
        if wake_at is not None:
            wakes.append(wake_at)
    for stateful in snapshot.all(StatefulSet).values():
        made, found, wake_at = compile_stateful_set(context, stateful, roster.pods_of(stateful))
        writes.update(made)
        findings.extend(found)
        if wake_at is not None:
            wakes.append(wake_at)
    for daemon in snapshot.all(DaemonSet).values():
        made, wake_at = compile_daemon_set(context, daemon)
        writes.update(made)
        if wake_at is not None:
            wakes.append(wake_at)
    for job in snapshot.all(Job).values():
        made, found, wake_at = compile_job(context, job, roster.pods_of(job))
        writes.update(made)
        findings.extend(found)
        if wake_at is not None:
            wakes.append(wake_at)
    writes.update(release_orphans(context))
    claims, notes = compile_claims(context)
    writes.update(claims)
    findings.extend(notes)
    _cron_jobs(context, writes, wakes)
    writes.update(compile_adoption(context))
    writes.update(compile_retention(context))
    for compile_part in (compile_evictions, compile_budgets):
        made, wake_at = compile_part(context)
        writes.update(made)
        if wake_at is not None:
            wakes.append(wake_at)


def _cron_jobs(context: Context, writes: dict[str, Write], wakes: list[float]) -> None:
    found = context.snapshot.all(CronJob)
    if not found:
        return
    from podwire.compile.workloads_cronjobs import compile_cron_job  # time zones load when there is a use for them

    for cron in found.values():
        made, wake_at = compile_cron_job(context, cron)
        writes.update(made)
        if wake_at is not None:
            wakes.append(wake_at)


def _replica_sets(context: Context, writes: dict[str, Write]) -> dict[str, PodCounts]:
    """Counts of every ReplicaSet; its writes are added to ``writes``."""
    snapshot, roster = context.snapshot, roster_of(context)
    found: dict[str, PodCounts] = {}
    for key, value in snapshot.all(ReplicaSet).items():
        pods = roster.pods_of(value)
        if value.spec.min_ready_seconds:
            counts = count_replica_set(value, pods, snapshot.now)
        else:
            make = partial(count_replica_set, value, pods, snapshot.now)
            counts = context.memo.unit(f"replicas/{key}", (value, pods), make)
        found[key] = counts
        writes.update(compile_replica_set(context, value, pods, counts))
    return found
