"""Questions over (snapshot, plans): plain functions with closed sets of steps and verdicts. Pure.

The answers interpret the same plans that the drivers execute, so they are true by construction; the kernel tests send
packets to prove it.
"""

from podwire.explain.parties import Unclear, parse_source, parse_target
from podwire.explain.steps import Branch, Hop, Party, Target, Trace
from podwire.explain.text import format_trace, group_branches, trace_to_dict
from podwire.explain.trace import resolve, trace
from podwire.explain.world import World

__all__ = [
    "Branch",
    "Hop",
    "Party",
    "Target",
    "Trace",
    "Unclear",
    "World",
    "format_trace",
    "group_branches",
    "parse_source",
    "parse_target",
    "resolve",
    "trace",
    "trace_to_dict",
]
