"""A trace as text for people and as plain values for machines; equal traces give equal bytes."""

from typing import Any

import msgspec

from podwire.explain.steps import Branch, Hop, Trace

WIDTH = 9


def format_trace(found: Trace) -> str:
    """The numbered hops, then the verdict."""
    lines = [f"{found.source.name} -> {found.target}"]
    number = 0
    for hop in found.hops:
        number += 1
        lines.extend(_hop_lines(hop, str(number)))
    groups = group_branches(found.branches)
    for index, (branch, count) in enumerate(groups):
        letter = chr(ord("a") + index % 26) if len(groups) > 1 else ""
        if len(groups) > 1:
            lines.append(f"   {letter}. {count} of {len(found.branches)} backends:")
        for step, hop in enumerate(branch.hops, start=number + 1):
            lines.extend(_hop_lines(hop, f"{step}{letter}"))
    lines.append(f"verdict   {_summary(found)}")
    lines.extend(f"assumed   {text}" for text in found.assumptions)
    return "\n".join(lines) + "\n"


def _hop_lines(hop: Hop, number: str) -> list[str]:
    verdict = hop.verdict.upper() if hop.verdict == "denied" else hop.verdict
    code = f"  {hop.code}" if hop.code else ""
    lines = [f"{number:>3} {hop.kind:<{WIDTH}}{verdict:<8} {hop.text}{code}"]
    lines.extend(f"{'':>22}{origin}" for origin in hop.origins[:3])
    if len(hop.origins) > 3:
        lines.append(f"{'':>22}and {len(hop.origins) - 3} more")
    lines.extend(f"{'':>22}{note}" for note in hop.notes)
    return lines


def group_branches(branches: tuple[Branch, ...]) -> list[tuple[Branch, int]]:
    """One witness per distinct outcome, with how many branches share it, most frequent first."""
    groups: dict[tuple[str, str, str, int], list[Branch]] = {}
    for branch in branches:
        last = branch.hops[-1].kind if branch.hops else ""
        groups.setdefault((branch.verdict, branch.observes, last, branch.status), []).append(branch)
    return sorted(((g[0], len(g)) for g in groups.values()), key=lambda pair: -pair[1])


def _summary(found: Trace) -> str:
    denied = [hop for hop in found.hops if hop.verdict == "denied"]
    if denied:
        observes = found.branches[0].observes if found.branches else "unknown"
        return f"denied at {denied[-1].kind} (the client sees: {observes})"
    parts = []
    for branch, count in group_branches(found.branches):
        share = "" if count == len(found.branches) else f"{count} of {len(found.branches)}: "
        status = f", HTTP {branch.status}" if branch.status else ""
        where = next((f" at {hop.kind}" for hop in reversed(branch.hops) if hop.verdict == "denied"), "")
        parts.append(f"{share}{branch.verdict}{where} (the client sees: {branch.observes}{status})")
    return "; ".join(parts) or "unknown"


def trace_to_dict(found: Trace) -> dict[str, Any]:
    """The same as JSON values; refs and origins as their text."""
    return {
        "source": found.source.name,
        "target": str(found.target),
        "verdict": found.verdict,
        "hops": [_hop_dict(hop) for hop in found.hops],
        "branches": [
            {
                "address": b.address,
                "pod": b.pod.key if b.pod else "",
                "verdict": b.verdict,
                "observes": b.observes,
                "status": b.status,
                "hops": [_hop_dict(hop) for hop in b.hops],
            }
            for b in found.branches
        ],
        "assumptions": list(found.assumptions),
    }


def _hop_dict(hop: Hop) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.to_builtins(hop)
    value["origins"] = [str(origin) for origin in hop.origins]
    return value
