"""Runs the cases of ``tests/cases``: a folder of data each, at every depth this machine allows.

A case holds ``objects.yaml``, ``traces.txt`` (one ``FROM TO`` a line, ``#`` comments) and golden files: ``plan.txt``
(the compiled plans), ``traces.golden`` (each trace in full), ``findings.txt``. At kernel depth the cluster runs for
real: every line of ``traces.txt`` is sent as a packet, and the observation must be one that the trace predicts.

At kernel depth a case runs in IPv4 as it is written, and again in a cluster that has IPv6 alone: its addresses are
moved by :mod:`podwire.testing.families`. A case about one family says ``# family: ipv4`` in the first line of
``objects.yaml``, a question about one ends with its name (``FROM TO ipv4``).
"""

from pathlib import Path

import msgspec

from podwire.base import Finding
from podwire.cluster.addresses import IpFamily
from podwire.cluster.system import NodeLayout
from podwire.cluster.worlds import offline_world, read_paths
from podwire.engine import State
from podwire.explain import Trace, World, format_trace, parse_source, parse_target, resolve, trace
from podwire.plan.text import format_plans
from podwire.testing.clusters import running_cluster
from podwire.testing.families import move_to_ipv6, to_ipv6
from podwire.testing.probes import Observation, Probe, send_probes
from podwire.testing.promise import agrees, netns_of, predicted_by

GOLDENS = ("plan.txt", "traces.golden", "findings.txt")


class Question(msgspec.Struct, frozen=True):
    """One line of ``traces.txt``."""

    source: str
    target: str
    family: str = ""
    """The only family in which the line has a meaning."""


def questions(case: Path) -> list[Question]:
    """The lines of ``traces.txt``."""
    lines = (line.partition("#")[0].split() for line in (case / "traces.txt").read_text().splitlines())
    return [Question(*words) for words in lines if words]


async def run_offline(case: Path) -> dict[str, str]:
    """The goldens as they should be, by file name."""
    objects, problems = read_paths([case / "objects.yaml"])
    state, refused = await offline_world(objects)
    world = World(state.snapshot, state.plans)
    traces = "\n".join(format_trace(_ask(world, question)) for question in questions(case))
    findings = (*problems, *refused, *state.plans.findings)
    return {
        "plan.txt": format_plans(state.plans),
        "traces.golden": traces,
        "findings.txt": "".join(f"{_without_path(f, case)}\n" for f in sorted(set(findings))),
    }


def _without_path(finding: Finding, case: Path) -> str:
    return str(finding).replace(f"{case}/", "")


def _ask(world: World, question: Question) -> Trace:
    source, assumptions = parse_source(world, question.source)
    return trace(world, source, parse_target(world, question.target), assumptions=assumptions)


def families(case: Path) -> tuple[IpFamily, ...]:
    """The families in which the case has a meaning."""
    first = (case / "objects.yaml").read_text().partition("\n")[0]
    only = first.partition("# family: ")[2].split()
    return ("ipv4", "ipv6") if not only else ("ipv6",) if only[0] == "ipv6" else ("ipv4",)


async def run_in_kernel(case: Path, family: IpFamily = "ipv4") -> list[str]:
    """Bring the case up and send every question as a packet; what did not do as predicted, in words."""
    objects, _ = read_paths([case / "objects.yaml"])
    asked = questions(case)
    if family == "ipv6":
        objects, asked = move_to_ipv6(objects), [Question(q.source, to_ipv6(q.target), q.family) for q in asked]
    asked = [q for q in asked if q.family in ("", family)]
    async with running_cluster(objects, refusals=True, layout=NodeLayout(ip_family=family)) as cluster:
        assert cluster.state is not None
        return await _send(cluster.state, asked)


async def _send(state: State, asked: list[Question]) -> list[str]:
    world = World(state.snapshot, state.plans)
    sent: dict[Probe, tuple[Question, frozenset[Observation]]] = {}
    wrong = []
    for question in asked:
        source, _ = parse_source(world, question.source)
        reached = resolve(world, source, parse_target(world, question.target))
        if reached is None:
            continue
        probe = Probe(netns_of(world, source), reached.host, reached.port, reached.protocol)
        sent[probe] = (question, predicted_by(_ask(world, question)))
    for probe, observed in (await send_probes(list(sent))).items():
        question, predicted = sent[probe]
        if not agrees(predicted, observed):
            wrong.append(f"{question.source} {question.target}: predicted {sorted(predicted)}, observed {observed}")
    return wrong
