"""The labels that tie a Job and its pods: what the API server adds when a Job is created.

Spec: k8s:pkg/registry/batch/job/strategy.go (generateSelector).
"""

from typing import Any

from podwire.kube.edit import put

Obj = dict[str, Any]

UID_LABEL = "batch.kubernetes.io/controller-uid"
NAME_LABEL = "batch.kubernetes.io/job-name"
_OLD = {UID_LABEL: "controller-uid", NAME_LABEL: "job-name"}


def identify_job(obj: Obj) -> Obj:
    """``obj``, a new Job with name and uid, with a selector of its own and the labels on its template.

    ``manualSelector`` leaves both to the author.
    """
    spec, meta = obj.get("spec") or {}, obj["metadata"]
    if spec.get("manualSelector") or not spec.get("template"):
        return obj
    template = spec["template"]
    inner = template.get("metadata") or {}
    wanted = {UID_LABEL: meta.get("uid", ""), NAME_LABEL: meta.get("name", "")}
    labels = {**(inner.get("labels") or {})}
    for key, value in wanted.items():
        labels |= {key: value, _OLD[key]: value}
    selector = spec.get("selector") or {}
    matched = {**(selector.get("matchLabels") or {}), UID_LABEL: wanted[UID_LABEL]}
    template = put(template, "metadata", put(inner, "labels", labels))
    spec = {**spec, "template": template, "selector": {**selector, "matchLabels": matched}}
    return put(obj, "spec", spec)
