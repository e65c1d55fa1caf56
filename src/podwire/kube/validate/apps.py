"""Deployment, ReplicaSet, StatefulSet, DaemonSet.

Spec: k8s:pkg/apis/apps/validation/validation.go.
"""

import re
from typing import Any

from podwire.kube.meta import LabelSelector, LabelSelectorRequirement, selects
from podwire.kube.names import dns_label_problems
from podwire.kube.validate.errors import (
    Errors,
    each_invalid,
    forbidden,
    immutable,
    invalid,
    non_negative,
    not_supported,
    one_of,
    required,
)
from podwire.kube.validate.meta import check_selector
from podwire.kube.validate.pod import check_template

Obj = dict[str, Any]

_PERCENT = r"\d{1,9}%\Z"
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_STATEFUL_OPEN = frozenset(
    {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "minReadySeconds"}
    | {"persistentVolumeClaimRetentionPolicy"}
)


def check_deployment(obj: Obj, old: Obj | None) -> Errors:
    """A Deployment; its selector never changes."""
    spec = obj.get("spec") or {}
    yield from _check_common(spec, "deployment")
    yield from _check_strategy(spec.get("strategy") or {})
    for key in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline <= ready:
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    yield from _check_selector_kept(spec, old)


def check_replica_set(obj: Obj, old: Obj | None) -> Errors:
    """A ReplicaSet; its selector never changes."""
    spec = obj.get("spec") or {}
    yield from _check_common(spec, "deployment")
    yield from non_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from _check_selector_kept(spec, old)


def check_stateful_set(obj: Obj, old: Obj | None) -> Errors:
    """A StatefulSet; most of its spec never changes."""
    spec = obj.get("spec") or {}
    yield from one_of("spec.podManagementPolicy", spec.get("podManagementPolicy") or "", ("OrderedReady", "Parallel"))
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    yield from one_of("spec.updateStrategy.type", strategy.get("type") or "", ("OnDelete", "RollingUpdate"))
    if strategy.get("type") == "OnDelete" and strategy.get("rollingUpdate") is not None:
        detail = "only allowed for updateStrategy 'RollingUpdate'"
        yield invalid("spec.updateStrategy.rollingUpdate", rolling, detail)
    yield from non_negative("spec.updateStrategy.rollingUpdate.partition", rolling.get("partition"))
    for key in ("minReadySeconds", "revisionHistoryLimit"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    yield from non_negative("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
    if spec.get("serviceName"):
        yield from each_invalid("spec.serviceName", spec["serviceName"], dns_label_problems(spec["serviceName"]))
    yield from _check_common(_with_claims(spec), "statefulset")
    if old is not None:
        yield from _check_stateful_update(spec, old.get("spec") or {})


def check_daemon_set(obj: Obj, old: Obj | None) -> Errors:
    """A DaemonSet; its selector never changes."""
    spec = obj.get("spec") or {}
    yield from _check_common(spec, "daemonset")
    for key in ("minReadySeconds", "revisionHistoryLimit"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    strategy = spec.get("updateStrategy") or {}
    yield from one_of("spec.updateStrategy.type", strategy.get("type") or "", ("OnDelete", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "RollingUpdate" and rolling is not None:
        yield from _check_daemon_roll(rolling, "spec.updateStrategy.rollingUpdate")
    yield from _check_selector_kept(spec, old)


def _check_daemon_roll(rolling: Obj, path: str) -> Errors:
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    for key, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
        yield from _check_share(f"{path}.{key}", value)
    if not _is_zero(unavailable) and not _is_zero(surge):
        yield invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
    if _is_zero(unavailable) and _is_zero(surge):
        yield required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")


def _check_stateful_update(spec: Obj, before: Obj) -> Errors:
    keys = (spec.keys() | before.keys()) - _STATEFUL_OPEN
    if any((spec.get(key) or None) != (before.get(key) or None) for key in keys):
        yield forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
            "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
            "'minReadySeconds' are forbidden",
        )


def _with_claims(spec: Obj) -> Obj:
    """The spec whose template also has a volume for each claim template, so that mounts of claims resolve."""
    claims = [(claim.get("metadata") or {}).get("name") for claim in spec.get("volumeClaimTemplates") or ()]
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
    declared = {volume.get("name") for volume in pod.get("volumes") or ()}
    extra = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims if name not in declared]
    if not extra:
        return spec
    return {**spec, "template": {**template, "spec": {**pod, "volumes": [*(pod.get("volumes") or ()), *extra]}}}


def _check_common(spec: Obj, word: str) -> Errors:
    """Replicas, selector, template, and that they fit together."""
    yield from non_negative("spec.replicas", spec.get("replicas"))
    selector = spec.get("selector")
    template = spec.get("template")
    if not selector:
        if selector is None:
            yield required("spec.selector")
        else:
            yield invalid("spec.selector", selector, f"empty selector is invalid for {word}")
    else:
        yield from check_selector(selector, "spec.selector")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            yield invalid("spec.selector", selector, f"empty selector is invalid for {word}")
    if not template:
        yield required("spec.template")
        return
    labels = (template.get("metadata") or {}).get("labels") or {}
    if selector and not _matches(selector, labels):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from check_template(template, "spec.template")


def _matches(selector: Obj, labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions") or []
    if any(item.get("operator") not in _OPERATORS for item in expressions):
        return True  # the operator itself is reported
    parsed = LabelSelector(
        match_labels=selector.get("matchLabels") or {},
        match_expressions=tuple(
            LabelSelectorRequirement(
                key=item.get("key", ""), operator=item["operator"], values=tuple(item.get("values") or ())
            )
            for item in expressions
        ),
    )
    return selects(parsed, labels)


def _check_strategy(strategy: Obj) -> Errors:
    kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
    path = "spec.strategy.rollingUpdate"
    if kind == "Recreate":
        if rolling is not None:
            yield forbidden(path, "may not be specified when strategy `type` is 'Recreate'")
        return
    if kind != "RollingUpdate":
        yield not_supported("spec.strategy.type", kind, ("Recreate", "RollingUpdate"))
        return
    unavailable, surge = (rolling or {}).get("maxUnavailable", 0), (rolling or {}).get("maxSurge", 0)
    for key, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
        yield from _check_share(f"{path}.{key}", value)
    if _is_zero(unavailable) and _is_zero(surge):
        yield invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    if isinstance(unavailable, str) and re.match(_PERCENT, unavailable) and int(unavailable[:-1]) > 100:
        yield invalid(f"{path}.maxUnavailable", unavailable, "must not be greater than 100%")


def _check_share(path: str, value: int | str) -> Errors:
    if isinstance(value, int):
        yield from non_negative(path, value)
    elif not re.match(_PERCENT, value):
        detail = (
            "a valid percent string must be a numeric string followed by an ending '%' "
            "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
        )
        yield invalid(path, value, detail)


def _is_zero(value: int | str) -> bool:
    return value == 0 or (isinstance(value, str) and bool(re.match(_PERCENT, value)) and int(value[:-1]) == 0)


def _check_selector_kept(spec: Obj, old: Obj | None) -> Errors:
    if old is not None:
        yield from immutable("spec.selector", spec.get("selector"), (old.get("spec") or {}).get("selector"))
