"""``podwire policies``: whom each policy selects, where it is in force, what it denied and let through."""

import argparse
import asyncio
import sys
from typing import Any

from podwire.base import EnvironmentUnfit
from podwire.cluster.home import ClusterHome

Json = dict[str, Any]
HEADING = ("NAMESPACE", "NAME", "MODE", "GENERATION", "IN FORCE", "PODS", "DENIED", "AUDITED", "ALLOWED", "IDLE RULES")
VERDICTS = ("denied", "audited", "allowed")


def run(args: argparse.Namespace) -> int:
    """0 when every policy is in force wherever it has pods, 1 when one is not."""
    from podwire.cli.output import print_table, print_value

    home = ClusterHome(args.name)
    if home.pid() is None:
        raise EnvironmentUnfit(f"cluster {args.name!r} is not running: podwire up --name {args.name}")
    values = [v for v in asyncio.run(_collect(home)) if not args.namespace or v["namespace"] == args.namespace]
    if args.output != "table":
        print_value(values, args.output)
    elif not values:
        print("no policies")
    else:
        print_table([HEADING, *(_row(value) for value in values)])
        for value in values:
            for words in (*value["refused"], *value["problems"]):
                print(f"{value['policy']}: {words}", file=sys.stderr)
    return 0 if all(value["inForce"] for value in values) else 1


async def _collect(home: ClusterHome) -> list[Json]:
    from podwire.cli.flows import ask_facts, ask_flows
    from podwire.client.kubeconfig import read_kubeconfig
    from podwire.cluster.worlds import observed_world, settings_of
    from podwire.explain import World
    from podwire.explain.policies import explain_policies

    facts = ask_facts(home)
    counts = list(ask_flows(home, {"what": "counts", "follow": False}))
    state, _ = await observed_world(read_kubeconfig(home.kubeconfig), settings_of(home), planes=facts)
    states = explain_policies(World(state.snapshot, state.plans))
    return [_value(found, counts) for found in states]


def _value(found: Any, counts: list[Json]) -> Json:
    rules = [count for count in counts if count["rule"].partition(" spec.")[0] == str(found.policy)]
    packets = {verdict: sum(c["packets"] for c in rules if c["verdict"] == verdict) for verdict in VERDICTS}
    return {
        "policy": str(found.policy),
        "kind": found.policy.kind,
        "namespace": found.policy.namespace,
        "name": found.policy.name,
        "tier": found.tier,
        "mode": found.mode,
        "generation": found.generation,
        "inForce": found.is_enforced,
        "pods": found.pods,
        "nodes": list(found.nodes),
        "enforcedOn": list(found.enforced),
        **packets,
        "rules": [{"rule": c["rule"], "verdict": c["verdict"], "packets": c["packets"]} for c in rules],
        "idleRules": list(found.idle),
        "refused": list(found.refused),
        "problems": list(found.problems),
    }


def _row(value: Json) -> tuple[str, ...]:
    where = f"{len(value['enforcedOn'])} of {len(value['nodes'])} nodes" if value["nodes"] else "selects no pod"
    name = value["name"] + (f" ({value['tier']})" if value["tier"] else "")
    numbers = (str(value[key]) for key in ("pods", *VERDICTS))
    idle = " ".join(path.removeprefix("spec.") for path in value["idleRules"]) or "-"
    return (value["namespace"] or "-", name, value["mode"], str(value["generation"]), where, *numbers, idle)
