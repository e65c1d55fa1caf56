"""``podwire flows``: what was denied and let through, by which policy and field, from a running cluster."""

import argparse
import json
import socket
from collections.abc import Iterator
from typing import Any

from podwire.base import EnvironmentUnfit
from podwire.cluster.home import ClusterHome

Json = dict[str, Any]


def run(args: argparse.Namespace) -> int:
    """0; ends with the cluster, with ``--once``, or with Ctrl-C."""
    home = ClusterHome(args.name)
    if home.pid() is None:
        raise EnvironmentUnfit(f"cluster {args.name!r} is not running: podwire up --name {args.name}")
    ask = {
        "what": "counts" if args.counts else "records",
        "denied": args.denied,
        "follow": not (args.counts or args.once),
    }
    for value in ask_flows(home, ask):
        if args.output == "json":
            print(json.dumps(value), flush=True)
        else:
            print(format_count(value) if args.counts else format_record(value), flush=True)
    return 0


def ask_flows(home: ClusterHome, ask: Json) -> Iterator[Json]:
    """What the packet plane of a running cluster answers, line by line.

    Raises :class:`EnvironmentUnfit` when there is none.
    """
    path = home.run / "flows.sock"
    connection = socket.socket(socket.AF_UNIX)
    with connection:
        try:
            connection.connect(str(path))
        except OSError as error:
            raise EnvironmentUnfit(
                f"no flows from {path}: {error} (simulated clusters carry no packets; else see podwire.log)"
            ) from error
        connection.sendall(json.dumps(ask).encode() + b"\n")
        for line in connection.makefile("rb"):
            if line.strip():
                yield json.loads(line)


def ask_facts(home: ClusterHome) -> dict[str, Json]:
    """What each node's kernel has confirmed and refused, by plane key; raises as above."""
    return {f"nft/{v['node']}": v["fact"] for v in ask_flows(home, {"what": "facts", "follow": False})}


def ask_services(home: ClusterHome) -> list[Json]:
    """What the kernels of all nodes counted for each Service port, in sum; raises as above."""
    sums: dict[str, Json] = {}
    for value in ask_flows(home, {"what": "services", "follow": False}):
        for count in value["counts"]:
            known = sums.setdefault(count["key"], {"service": count["key"]})
            for name, number in count.items():
                if name != "key":
                    known[name] = known.get(name, 0) + number
    return [sums[key] for key in sorted(sums)]


def format_record(value: Json) -> str:
    """One line: time, verdict, ends, and why."""
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(value["at"], UTC).strftime("%H:%M:%S.%f")[:-3]
    service = f" via {value['service']}" if value["service"] else ""
    ends = f"{_end(value['source'], port=False)} -> {_end(value['destination'])}/{value['protocol']}{service}"
    why = value["text"] or "by " + ", ".join(value["rules"])
    if value["text"] and value["rules"]:
        why += f" [{', '.join(value['rules'])}]"
    return f"{at} {value['verdict']:<8} {value['direction']:<7} {value['node']} {ends}: {why}"


def _end(value: Json, *, port: bool = True) -> str:
    name = value["name"] or value["address"]
    return f"{name}:{value['port']}" if port and value["port"] else str(name)


def format_count(value: Json) -> str:
    """One line: packets, verdict, direction, node, rule."""
    rule = value["rule"] or "(no rule)"
    return f"{value['packets']:>8} {value['verdict']:<8} {value['direction']:<7} {value['node']} {rule}"
