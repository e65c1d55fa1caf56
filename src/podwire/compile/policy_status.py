"""What can be said about each policy: whether it is about anybody, rules that decide nothing, and conditions.

Rules:

1. A policy that selects no pod now, and a rule that decides about nothing now, are informations: both may be meant for
   pods to come. A rule that only passes on, or is not enforced (an error of its own), is not reported.
2. A ClusterNetworkPolicy gets the condition ``podwire.dev/Enforced``: False with what is not, True for a generation
   once the kernels have confirmed the tables of every pod it is about. Pods that come later do not take it back: they
   do not start before their tables are there.
3. That a policy is audited is an information, so that nobody takes it for enforced.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from podwire.base import FieldPath, Finding, Ref
from podwire.compile.context import Context
from podwire.compile.policy_refused import is_about
from podwire.compile.policy_views import MODE, PolicyView, view_pod
from podwire.compile.statuses import condition, find_condition, merge_conditions, merge_status
from podwire.kube import Pod
from podwire.kube.clusterpolicy import ClusterNetworkPolicy
from podwire.kube.meta import Condition
from podwire.plan import Decision, PolicyPlan, PolicyPod, Write, digest
from podwire.snapshot import Snapshot

CONDITION = "podwire.dev/Enforced"


def find_audited(views: Iterable[PolicyView]) -> Iterator[Finding]:
    """Rule 3."""
    for view in views:
        if view.audited:
            text = "is audited: logs what it would deny, and denies nothing"
            path = FieldPath(f"metadata.annotations[{MODE}]")
            yield Finding("PW2005", "info", view.policy, path, text, "remove the annotation to enforce it")


def find_idle(views: Sequence[PolicyView], decisions: Iterable[Decision], selected: Iterable[Ref]) -> Iterator[Finding]:
    """Policies and rules without effect now; ``selected`` are the policies that are about some pod."""
    about_somebody = set(selected)
    used: dict[Ref, set[str]] = {}
    for decision in decisions:
        for matched in decision.matched:
            used.setdefault(matched.origin.ref, set()).add(str(matched.origin.path))
    for view in views:
        if view.policy not in about_somebody:
            path = FieldPath("spec.podSelector" if view.subject is None else "spec.subject")
            yield Finding("PW2030", "info", view.policy, path, "selects no pod now", "check labels and namespace")
        else:
            yield from _idle_rules(view, used.get(view.policy, set()))


def _idle_rules(view: PolicyView, used: set[str]) -> Iterator[Finding]:
    broken = {_rule_path(finding.path) for finding in view.findings}
    for rule in view.rules:
        if rule.action == "Pass" or rule.direction not in view.directions or not rule.peers:
            continue
        where = _rule_path(rule.peers[0].origin.path)
        if where not in broken and not any(str(peer.origin.path) in used for peer in rule.peers):
            text = "decides about nothing now: nobody matches, no such port, or an earlier rule decides"
            yield Finding("PW2031", "info", view.policy, FieldPath(where), text, "check its peers and ports")


def _rule_path(path: FieldPath) -> str:
    """``spec.egress[2]`` of ``spec.egress[2].to[0].nodes``."""
    return str(path).partition("]")[0] + "]"


def _enforced(view: PolicyView, refused: Iterable[Finding]) -> Condition:
    broken = (*view.findings, *refused)
    text = "; ".join(f"{f.path}: {f.message}".removeprefix(": ") for f in broken)
    reason = "NotEnforced" if broken else "Enforced"
    if view.audited:
        reason, text = "Audited", "; ".join(("logs what it would deny, and denies nothing", text)).removesuffix("; ")
    made = condition(CONDITION, reason == "Enforced", reason=reason, message=text[:1000])
    return msgspec.structs.replace(made, observed_generation=view.generation)


def condition_writes(
    context: Context, views: Iterable[PolicyView], plan: PolicyPlan, refused: Iterable[Finding]
) -> Iterator[tuple[str, Write]]:
    """The condition of each ClusterNetworkPolicy, where it differs."""
    by_policy: dict[Ref, list[Finding]] = {}
    for finding in refused:
        by_policy.setdefault(finding.ref, []).append(finding)
    for view in views:
        policy = context.snapshot.get(ClusterNetworkPolicy, "", view.policy.name)
        if policy is None:
            continue
        wanted = _enforced(view, by_policy.get(view.policy, ()))
        known = find_condition(policy.status.conditions, CONDITION)
        if wanted.status == "True" and not _says(known, wanted) and not _is_confirmed(context, view, plan):
            continue
        merged = merge_conditions(policy.status.conditions, (wanted,), context.snapshot.now)
        patch = merge_status(policy, {"conditions": merged})
        if patch is not None:
            yield f"status/{policy.ref}", patch


def _says(known: Condition | None, wanted: Condition) -> bool:
    return known is not None and (known.status, known.observed_generation) == (
        wanted.status,
        wanted.observed_generation,
    )


def _is_confirmed(context: Context, view: PolicyView, plan: PolicyPlan) -> bool:
    """Whether the kernels hold what the plan says of every pod the policy is about."""
    snapshot = context.snapshot
    if not snapshot.settings.planes:
        return True
    return all(_holds(snapshot, pod) for pod in plan.pods.values() if _is_about(snapshot, view, pod.pod))


def _holds(snapshot: Snapshot, pod: PolicyPod) -> bool:
    fact = snapshot.facts.planes.get(f"nft/{pod.node}")
    return fact is not None and fact.ready and fact.applied.get(pod.uid) == digest(pod)


def _is_about(snapshot: Snapshot, view: PolicyView, ref: Ref) -> bool:
    pod = snapshot.get(Pod, ref.namespace, ref.name)
    found = view_pod(pod, snapshot.facts) if pod is not None else None
    return found is not None and is_about(view, found, {ref.namespace: snapshot.labels_of(ref.namespace)})
