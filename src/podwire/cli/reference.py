"""The reference pages that are generated: the command line from its parser, the kinds from their registry.

``python -m podwire.cli.reference FOLDER`` writes them; a repository test holds them to the code.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path


def pages() -> dict[str, str]:
    """Page texts by file name."""
    made = {"cli.md": _cli(), "kinds.md": _kinds(), "pod-fields.md": _pod_fields()}
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def _cli() -> Iterator[str]:
    from podwire.cli.main import make_parser

    yield "# Command line"
    yield ""
    yield "Exit codes: 0 yes or done, 1 no, denied or findings, 2 usage or environment."
    for action in make_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, parser in action.choices.items():
                yield from _command(name, helps.get(name, ""), parser)


def _command(name: str, text: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from (
        "",
        f"## podwire {name}",
        "",
        f"{text[:1].upper()}{text[1:]}.",
        "",
        "| argument | meaning |",
        "|---|---|",
    )
    for action in parser._actions:
        if action.dest == "help":
            continue
        shown = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        value = "" if not action.option_strings or action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        yield f"| `{shown}{value}` | {action.help or ''} |"


def _pod_fields() -> Iterator[str]:
    from podwire.compile.pod_fields import FIELDS

    yield "# Fields of a pod"
    yield ""
    yield "What podwire does with each field of a pod and its containers. *Enforced*: what Kubernetes documents"
    yield "happens, within the note. *Reported*: stored and shown; where it is set, PW6024 on the object says that"
    yield "nothing acts on it (an information where no answer changes, else a warning and an Event). What validation"
    yield "refuses is an error of the API. Volumes of kinds that are not mounted are PW6020. A test holds this table"
    yield "against the schema."
    for kind, fields in FIELDS.items():
        yield from ("", f"## {kind}", "", "| field | what happens | note |", "|---|---|---|")
        for name, treatment in sorted(fields.items()):
            how = f"{treatment.how} ({treatment.severity})" if treatment.how == "reported" else treatment.how
            yield f"| {name} | {how} | {treatment.note} |"


def _kinds() -> Iterator[str]:
    from podwire.kube import KINDS

    yield "# Kinds"
    yield ""
    yield "What the embedded API server knows; `kubectl explain KIND` teaches the fields."
    yield ""
    yield "| kind | apiVersion | resource | short | scope | subresources |"
    yield "|---|---|---|---|---|---|"
    for kind in sorted(KINDS.values(), key=lambda k: (k.group, k.name)):
        scope = "namespaced" if kind.namespaced else "cluster"
        short, parts = ", ".join(kind.short_names), ", ".join(kind.subresources)
        yield f"| {kind.name} | {kind.api_version} | {kind.plural} | {short} | {scope} | {parts} |"
    yield _OTHERS.rstrip()


_OTHERS = """
## Kinds that are served in another way

| kind | how |
|---|---|
| SelfSubjectReview, TokenReview, SubjectAccessReview and its kin | questions: answered, never stored |
| NodeMetrics, PodMetrics (metrics.k8s.io/v1beta1) | measured when asked, where nodes are real |
| Event (events.k8s.io/v1) | the stored core/v1 Events in the newer form |
| HorizontalPodAutoscaler | stored, so that charts install; nothing scales: warning, Event, `ScalingActive: False` |
| ReplicationController | always empty, for `kubectl apply --prune` and `get all`; a write is refused |

## Kinds that are not served (404), and why

| kind | why |
|---|---|
| APIService | no aggregated API servers; metrics.k8s.io is built in |
| MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding | CEL that makes objects is not built |
| RuntimeClass | there is one runtime |
| CSIDriver, CSINode, CSIStorageCapacity, VolumeAttachment, VolumeAttributesClass | no CSI: claims get a folder |
| ResourceClaim, DeviceClass and their kin | no devices |
| CertificateSigningRequest, ClusterTrustBundle | no signer |
| FlowSchema, PriorityLevelConfiguration | requests are not queued by priority |
| PodTemplate, ComponentStatus, Binding as a resource | nobody uses them (`pods/binding` is served) |
| `nodes/proxy`, `pods/resize` | not built |
| autoscaling/v1, networking.k8s.io/v1beta1 and other older versions | the newest stable version is served |
"""


def main(folder: str) -> None:
    """Write the pages."""
    for name, text in pages().items():
        (Path(folder) / name).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
