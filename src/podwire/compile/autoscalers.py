"""HorizontalPodAutoscalers: nothing here scales by metrics, and each is told so.

Charts bring them and must install, so the API takes them; replicas stay as the workload says. That is a warning
(PW6028, with an Event) and the condition ``ScalingActive: False``, so that nobody waits for pods that never come.
"""

from functools import partial

import msgspec

from podwire.base import FieldPath, Finding
from podwire.compile.context import Context, Piece
from podwire.compile.statuses import condition, merge_conditions, merge_status
from podwire.kube.autoscaling import HorizontalPodAutoscaler
from podwire.plan import Merge, Write

_WHY = "podwire does not scale by metrics: replicas stay as the workload has them"


def compile_autoscalers(context: Context) -> Piece:
    """A finding and a condition for each."""
    writes: dict[str, Write] = {}
    findings: list[Finding] = []
    for scaler in context.snapshot.all(HorizontalPodAutoscaler).values():
        target = scaler.spec.scale_target_ref
        fix = f"kubectl scale -n {scaler.metadata.namespace} {target.kind.lower()}/{target.name} --replicas=N"
        findings.append(Finding("PW6028", "warning", scaler.ref, FieldPath("spec.metrics"), _WHY, fix))
        key = f"status/HorizontalPodAutoscaler/{scaler.key}"
        patch = context.memo.unit(f"write/{key}", (scaler,), partial(_status, scaler, context.snapshot.now))
        if patch is not None:
            writes[key] = patch
    return Piece(writes=writes, findings=tuple(findings))


def _status(scaler: HorizontalPodAutoscaler, now: float) -> Merge | None:
    made = condition("ScalingActive", False, reason="NotEnforced", message=_WHY)
    made = msgspec.structs.replace(made, observed_generation=None)
    conditions = merge_conditions(scaler.status.conditions, (made,), now)
    return merge_status(scaler, {"observed_generation": scaler.metadata.generation, "conditions": conditions})
