"""``podwire status`` and ``podwire kubeconfig``."""

import argparse
import asyncio
from typing import Any

from podwire.base import EnvironmentUnfit
from podwire.cluster.home import ClusterHome


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
    from podwire.client.kubeconfig import read_kubeconfig
    from podwire.cluster.worlds import observed_world, settings_of
    from podwire.engine import waiting_for

    access, settings = read_kubeconfig(home.kubeconfig), settings_of(home)
    state, missing = await observed_world(access, settings, secrets=True, planes=_facts(home))
    pods = state.snapshot.objects.get("Pod", {})
    return {
        "cluster": home.name,
        "pid": home.pid(),
        "kubeconfig": str(home.kubeconfig),
        "nodes": len(state.snapshot.nodes),
        "pods": len(pods),
        "services": len(state.snapshot.objects.get("Service", {})),
        "waiting": [*map(str, waiting_for(state.snapshot, state.plans)), *missing],
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


def _facts(home: ClusterHome) -> dict[str, dict[str, Any]]:
    """What kernels refuse is wrong too; a simulated cluster has none."""
    from podwire.cli.flows import ask_facts

    try:
        return ask_facts(home)
    except EnvironmentUnfit:
        return {}


def _print(value: dict[str, Any]) -> None:
    for key in ("cluster", "pid", "kubeconfig", "nodes", "pods", "services"):
        print(f"{key:<11} {value[key]}")
    for line in value["waiting"]:
        print(f"waits for   {line}")
    for finding in value["findings"]:
        fix = f" (fix: {finding['fix']})" if finding["fix"] else ""
        where = f"{finding['object']} {finding['path']}"
        print(f"{finding['severity']:<11} {finding['code']} {where}: {finding['message']}{fix}")
