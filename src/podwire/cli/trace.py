"""``podwire trace FROM TO``: offline on ``-f``, on a running podwire, or on any cluster by kubeconfig."""

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from podwire.base import EnvironmentUnfit

if TYPE_CHECKING:
    from podwire.engine import State

CODES = {"allowed": 0, "denied": 1, "unknown": 1}


def run(args: argparse.Namespace) -> int:
    """0 allowed, 1 denied or not known, 2 when the question cannot be asked."""
    return asyncio.run(_trace(args))


async def _trace(args: argparse.Namespace) -> int:
    from podwire.cli.output import print_findings, print_value
    from podwire.explain import Unclear, World, format_trace, parse_source, parse_target, trace, trace_to_dict

    state = await _state(args)
    world = World(state.snapshot, state.plans)
    try:
        source, assumptions = parse_source(world, args.source)
        target = parse_target(world, args.target)
    except Unclear as error:
        raise EnvironmentUnfit(str(error)) from error
    found = trace(world, source, target, assumptions=assumptions)
    if args.output == "table":
        print(format_trace(found), end="")
    else:
        print_value(trace_to_dict(found), args.output)
    refs = {origin.ref for hop in found.hops for origin in hop.origins}
    print_findings(f for f in state.plans.findings if f.ref in refs)
    sys.stdout.flush()
    return CODES[found.verdict]


async def _state(args: argparse.Namespace) -> "State":
    from podwire.cluster import worlds

    if args.file:
        from podwire.cli.output import print_findings

        objects, problems = worlds.read_paths(args.file)
        state, refused = await worlds.offline_world(objects, family=args.ip_family)
        print_findings((*problems, *refused))
        return state
    from podwire.client.kubeconfig import read_kubeconfig
    from podwire.cluster.home import ClusterHome
    from podwire.snapshot import Settings

    if args.kubeconfig:
        state, missing = await worlds.observed_world(read_kubeconfig(args.kubeconfig), Settings())
    else:
        home = ClusterHome(args.name)
        if home.pid() is None:
            hint = "ask a folder with -f, a cluster with --kubeconfig, or: podwire up"
            raise EnvironmentUnfit(f"cluster {args.name!r} is not running: {hint}")
        from podwire.cli.flows import ask_facts
        from podwire.cli.status import ask_plane

        facts = ask_plane(home, ask_facts) or {}
        state, missing = await worlds.observed_world(
            read_kubeconfig(home.kubeconfig), worlds.settings_of(home), secrets=True, planes=facts
        )
    for line in missing:
        print(f"not seen: {line}", file=sys.stderr)
    return state
