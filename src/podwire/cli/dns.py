"""``podwire dns NAME --from NS/POD``: what the pod's resolver asks, what it gets, and how to correct the name."""

import argparse
import asyncio
import sys

from podwire.base import EnvironmentUnfit

CODES = {"found": 0, "not found": 1, "blocked": 1, "unknown": 1}


def run(args: argparse.Namespace) -> int:
    """0 found, 1 not found, blocked or not known, 2 when the question cannot be asked."""
    return asyncio.run(_look_up(args))


async def _look_up(args: argparse.Namespace) -> int:
    from podwire.cli.output import print_findings, print_value
    from podwire.cli.trace import _state
    from podwire.explain import Unclear, World, parse_source
    from podwire.explain.names import look_up
    from podwire.explain.names_text import format_lookup, lookup_to_dict
    from podwire.planes.dns.simulate import Simulation

    state = await _state(args)
    world = World(state.snapshot, state.plans)
    try:
        source, assumptions = parse_source(world, args.source)
    except Unclear as error:
        raise EnvironmentUnfit(str(error)) from error
    if source.pod is None:
        raise EnvironmentUnfit(f"{args.source} does not use cluster DNS: ask from a pod, NAMESPACE/POD")
    found = look_up(world, source, args.query, Simulation(state.plans.zone))
    if args.output == "table":
        print(format_lookup(found), end="")
        for text in assumptions:
            print(f"assumed   {text}")
    else:
        print_value(lookup_to_dict(found), args.output)
    refs = {origin.ref for question in found.questions for origin in question.origins}
    print_findings(f for f in state.plans.findings if f.ref in refs or f.code == "PW1209")
    sys.stdout.flush()
    return CODES[found.verdict]
