"""The command line: one parser, one function per command.

Commands import what they need when they run: ``trace -f`` must not pay for Envoy, nor ``kubeconfig`` for asyncio.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from podwire import __version__
from podwire.base import PodwireError

OK, NO, UNFIT = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if not hasattr(args, "run"):
        parser.print_help()
        return UNFIT
    try:
        return int(args.run(args))
    except PodwireError as error:
        print(f"podwire: {error}", file=sys.stderr)
        return UNFIT
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return OK


def make_parser() -> argparse.ArgumentParser:
    """Every command and option."""
    parser = argparse.ArgumentParser(
        prog="podwire",
        description="Kubernetes networking, whole, on one Linux machine - and why a request (not) arrives.",
    )
    parser.add_argument("--version", action="version", version=f"podwire {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_up(commands)
    _add_down(commands)
    _add_status(commands)
    _add_simple(commands)
    _add_export(commands)
    _add_exec(commands)
    _add_trace(commands)
    _add_dns(commands)
    _add_dns_server(commands)
    _add_flows(commands)
    _add_policies(commands)
    return parser


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="podwire", help="which cluster (default: podwire)")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="form of the answer")


def _add_up(commands: Commands) -> None:
    from podwire.cli import up

    parser = commands.add_parser("up", help="bring up a cluster and apply manifests")
    _add_name(parser)
    parser.add_argument("-f", "--file", action="append", type=Path, default=[], help="file or folder of manifests")
    parser.add_argument("--nodes", type=int, default=2, help="number of nodes (default: 2)")
    parser.add_argument("--zones", default="a,b", help="zones of the nodes, in turn (default: a,b)")
    parser.add_argument(
        "--node-cidr-mask-size", type=int, default=24, metavar="N", help="pod addresses of a node (default: /24)"
    )
    parser.add_argument(
        "--ip-family",
        choices=("ipv4", "ipv6", "dual"),
        default="ipv4",
        help="address families of the cluster (default: ipv4)",
    )
    parser.add_argument(
        "--network",
        choices=("host-gw", "vxlan"),
        default="host-gw",
        help="pods of other nodes by routes or in a tunnel",
    )
    parser.add_argument(
        "--load-balancer",
        choices=("node", "edge"),
        default="node",
        help="load balancer addresses on the nodes, or on a hop outside that spreads over healthy nodes",
    )
    parser.add_argument(
        "--node-monitor-grace-period",
        type=float,
        default=50.0,
        metavar="SECONDS",
        help="how long a node whose link is cut (annotation podwire.dev/link: cut) still counts as ready",
    )
    parser.add_argument("--mtu", type=int, default=0, help="largest packet of a pod (default: 1500, by vxlan 1450)")
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="GLOB=COMMAND",
        help="run COMMAND for images that match GLOB; or GLOB=rootfs:DIR, [GLOB=]oci:PATH, [GLOB=]archive:PATH",
    )
    parser.add_argument("--allow-external-ips", action="store_true", help="take Services with externalIPs")
    _add_dns_option(parser)
    parser.add_argument("--simulate", action="store_true", help="everything but packets, without privileges")
    parser.add_argument("--detach", action="store_true", help="return when networking is ready, keep running")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for readiness (default: 60)")
    parser.set_defaults(run=up.run)


def _add_down(commands: Commands) -> None:
    from podwire.cli import down

    parser = commands.add_parser("down", help="stop a cluster and forget its state")
    _add_name(parser)
    parser.add_argument("--all", action="store_true", help="every cluster, and what killed processes left behind")
    parser.add_argument("--keep", action="store_true", help="keep the API's state for the next up")
    parser.set_defaults(run=down.run)


def _add_status(commands: Commands) -> None:
    from podwire.cli import status

    parser = commands.add_parser("status", help="what runs, what it waits for, what is wrong with the objects")
    _add_name(parser)
    _add_output(parser)
    parser.set_defaults(run=status.run)


def _add_simple(commands: Commands) -> None:
    from podwire.cli import doctor, status

    parser = commands.add_parser("kubeconfig", help="print the path of the kubeconfig")
    _add_name(parser)
    parser.set_defaults(run=status.run_kubeconfig)
    parser = commands.add_parser("doctor", help="what this machine lacks, and the fix")
    _add_output(parser)
    parser.set_defaults(run=doctor.run)


def _add_export(commands: Commands) -> None:
    from podwire.cli import export

    parser = commands.add_parser("export", help="a cluster as manifests, for up -f and kubectl apply -f")
    _add_name(parser)
    parser.add_argument("--kubeconfig", type=Path, help="export any cluster (but for its own system namespaces)")
    parser.add_argument("-n", "--namespace", action="append", default=[], help="only this namespace (repeatable)")
    parser.add_argument("-o", "--output", dest="file", type=Path, help="file to write, mode 0600 (default: print)")
    parser.set_defaults(run=export.run)


def _add_exec(commands: Commands) -> None:
    from podwire.cli import exec as exec_

    parser = commands.add_parser("exec", help="run a command in a pod")
    _add_name(parser)
    parser.add_argument("pod", help="NAMESPACE/POD")
    parser.add_argument("-c", "--container", default="", help="which container (default: the first)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND ...")
    parser.set_defaults(run=exec_.run)


def _add_trace(commands: Commands) -> None:
    from podwire.cli import trace

    parser = commands.add_parser("trace", help="why a request does (not) arrive, hop by hop")
    parser.add_argument("source", metavar="FROM", help="host, NAMESPACE/POD or NAMESPACE/deploy/NAME")
    parser.add_argument(
        "target", metavar="TO", help="http://NAME:PORT/PATH, NAME:PORT, udp://NAME:PORT, NAMESPACE/POD:PORT"
    )
    parser.add_argument("-f", "--file", action="append", type=Path, default=[], help="ask a folder of manifests")
    parser.add_argument("--ip-family", choices=("ipv4", "ipv6", "dual"), default="ipv4", help="of the folder's cluster")
    parser.add_argument("--name", default="podwire", help="ask a running podwire (default: podwire)")
    parser.add_argument("--kubeconfig", type=Path, help="ask any cluster")
    _add_output(parser)
    parser.set_defaults(run=trace.run)


def _add_flows(commands: Commands) -> None:
    from podwire.cli import flows

    parser = commands.add_parser("flows", help="connections policies denied and let through, by rule, as they happen")
    _add_name(parser)
    parser.add_argument("--denied", action="store_true", help="only what was denied")
    parser.add_argument("--once", action="store_true", help="print what was recorded so far and end")
    parser.add_argument("--counts", action="store_true", help="packets by rule instead, since the cluster came up")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="form of the answer")
    parser.set_defaults(run=flows.run)


def _add_policies(commands: Commands) -> None:
    from podwire.cli import policies

    parser = commands.add_parser("policies", help="where each policy is in force, whom it selects, what it decided")
    _add_name(parser)
    parser.add_argument("-n", "--namespace", default="", help="only the policies of one namespace")
    _add_output(parser)
    parser.set_defaults(run=policies.run)


def _add_dns(commands: Commands) -> None:
    from podwire.cli import dns

    parser = commands.add_parser("dns", help="what a pod's resolver asks for a name, what it gets, and the fix")
    parser.add_argument("query", metavar="NAME", help="as a program in the pod would write it")
    parser.add_argument("--from", dest="source", required=True, help="NAMESPACE/POD or NAMESPACE/deploy/NAME")
    parser.add_argument("-f", "--file", action="append", type=Path, default=[], help="ask a folder of manifests")
    parser.add_argument("--ip-family", choices=("ipv4", "ipv6", "dual"), default="ipv4", help="of the folder's cluster")
    parser.add_argument("--name", default="podwire", help="ask a running podwire (default: podwire)")
    parser.add_argument("--kubeconfig", type=Path, help="ask any cluster")
    _add_output(parser)
    parser.set_defaults(run=dns.run)


def _add_dns_option(parser: argparse.ArgumentParser) -> None:
    text = "what cluster DNS does beyond Kubernetes: topology, https, rate=N (docs/reference/dns.md)"
    parser.add_argument("--dns", action="append", default=[], metavar="OPTION", help=text)


def _add_dns_server(commands: Commands) -> None:
    from podwire.cli import dns_server

    parser = commands.add_parser("dns-server", help="serve the DNS of a folder of manifests or of a real cluster")
    parser.add_argument("-f", "--file", action="append", type=Path, default=[], help="serve a folder of manifests")
    parser.add_argument("--kubeconfig", type=Path, help="serve a cluster: read-only, by list and watch")
    parser.add_argument("--corefile", type=Path, help="instead of ConfigMap kube-system/coredns; files beside it count")
    parser.add_argument("--domain", default="cluster.local", help="without a Corefile (default: cluster.local)")
    parser.add_argument(
        "--listen", default="0.0.0.0:53,[::]:53", metavar="HOST:PORT,...", help="default: port 53 of every address"
    )
    parser.add_argument("--health", default="[::]:8080", metavar="HOST:PORT", help="/health ('': none)")
    parser.add_argument("--ready", default="[::]:8181", metavar="HOST:PORT", help="/ready ('': none)")
    parser.add_argument("--metrics", default="[::]:9153", metavar="HOST:PORT", help="/metrics ('': none)")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the port (default: 1)")
    _add_dns_option(parser)
    parser.add_argument("--upstream", action="append", default=[], metavar="ADDRESS", help="for /etc/resolv.conf")
    parser.set_defaults(run=dns_server.run)
