"""``podwire status`` and ``podwire kubeconfig``."""

import argparse
import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from podwire.base import EnvironmentUnfit
from podwire.cluster.home import ClusterHome

T = TypeVar("T")
BUSIEST = 10
"""Lines of traffic in the table."""


def run_kubeconfig(args: argparse.Namespace) -> int:
    """Print the path; 2 when the cluster was never started."""
    home = ClusterHome(args.name)
    if not home.kubeconfig.exists():
        raise EnvironmentUnfit(f"cluster {args.name!r} has no kubeconfig: podwire up --name {args.name}")
    print(home.kubeconfig)
    return 0


def run(args: argparse.Namespace) -> int:
    """0 when everything is as the objects say, 1 when something waits or is wrong."""
    from podwire.cli.output import print_value

    home = ClusterHome(args.name)
    if home.pid() is None:
        raise EnvironmentUnfit(f"cluster {args.name!r} is not running: podwire up --name {args.name}")
    value = asyncio.run(_collect(home))
    if args.output == "table":
        _print(value)
    else:
        print_value(value, args.output)
    return 1 if value["waiting"] or any(f["severity"] == "error" for f in value["findings"]) else 0


async def _collect(home: ClusterHome) -> dict[str, Any]:
    from podwire.cli.flows import ask_facts, ask_services
    from podwire.client.kubeconfig import read_kubeconfig
    from podwire.cluster.worlds import observed_world, settings_of
    from podwire.engine import waiting_for

    access, settings = read_kubeconfig(home.kubeconfig), settings_of(home)
    # What kernels refuse is wrong too.
    state, missing = await observed_world(access, settings, secrets=True, planes=ask_plane(home, ask_facts) or {})
    pods = state.snapshot.objects.get("Pod", {})
    return {
        "cluster": home.name,
        "pid": home.pid(),
        "kubeconfig": str(home.kubeconfig),
        "nodes": len(state.snapshot.nodes),
        "pods": len(pods),
        "services": len(state.snapshot.objects.get("Service", {})),
        "waiting": [*map(str, waiting_for(state.snapshot, state.plans)), *missing],
        "traffic": ask_plane(home, ask_services) or [],
        "findings": [
            {
                "code": f.code,
                "severity": f.severity,
                "object": str(f.ref),
                "path": f.path,
                "message": f.message,
                "fix": f.fix,
            }
            for f in state.plans.findings
        ],
    }


def ask_plane(home: ClusterHome, ask: Callable[[ClusterHome], T]) -> T | None:
    """What the packet plane says; a simulated cluster has none."""
    try:
        return ask(home)
    except EnvironmentUnfit:
        return None


def _print(value: dict[str, Any]) -> None:
    for key in ("cluster", "pid", "kubeconfig", "nodes", "pods", "services"):
        print(f"{key:<11} {value[key]}")
    for line in value["waiting"]:
        print(f"waits for   {line}")
    for finding in value["findings"]:
        fix = f" (fix: {finding['fix']})" if finding["fix"] else ""
        where = f"{finding['object']} {finding['path']}"
        print(f"{finding['severity']:<11} {finding['code']} {where}: {finding['message']}{fix}")
    busy = sorted(value["traffic"], key=lambda count: (-count["bytes"], count["service"]))
    for count in busy[:BUSIEST]:
        print(f"traffic     {format_traffic(count)}")
    if len(busy) > BUSIEST:
        print(f"traffic     and {len(busy) - BUSIEST} more Service ports (all of them: -o json)")


def format_traffic(count: dict[str, Any]) -> str:
    """``shop/api:80/TCP  12 connections, 34567 bytes; turned away: 2 for want of an endpoint``."""
    reasons = (
        ("refused", "for want of an endpoint"),
        ("dropped", "for want of one on the node"),
        ("barred", "by source ranges"),
    )
    away = ", ".join(f"{count[name]} {words}" for name, words in reasons if count[name])
    text = f"{count['service']}  {count['connections']} connections, {count['bytes']} bytes"
    return f"{text}; turned away: {away}" if away else text
