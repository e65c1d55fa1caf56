"""``podwire up``: bring up a cluster, apply manifests, say when networking is ready, stay until Ctrl-C."""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from podwire.base import EnvironmentUnfit, Finding, join_port

if TYPE_CHECKING:
    from podwire.cluster.embedded import EmbeddedCluster
    from podwire.snapshot import DnsOptions, ImageRule


def run(args: argparse.Namespace) -> int:
    """0 when ready (and stopped by a signal), 1 when manifests were refused or readiness did not come, 2 otherwise."""
    from podwire.cluster.images import parse_image_rules

    images = tuple(rule for text in args.image for rule in parse_image_rules(text))
    if args.nodes < 1:
        raise EnvironmentUnfit("--nodes must be at least 1")
    if args.detach:
        return _detach(args)
    return asyncio.run(_up(args, images))


async def _up(args: argparse.Namespace, images: tuple["ImageRule", ...]) -> int:
    started = time.monotonic()
    from podwire.cluster.doctor import why_no_packets
    from podwire.cluster.embedded import EmbeddedCluster
    from podwire.cluster.home import ClusterHome
    from podwire.cluster.system import NodeLayout
    from podwire.cluster.worlds import read_paths

    simulated = _announce_simulation(args, why_no_packets())
    objects, problems = read_paths(args.file)
    _say_findings(problems)
    if any(f.severity == "error" for f in problems):
        return 1
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    home = ClusterHome(args.name)
    home.open()
    zones = tuple(args.zones.split(","))
    layout = NodeLayout(
        args.nodes,
        zones,
        args.node_cidr_mask_size,
        network=args.network,
        mtu=args.mtu,
        ip_family=args.ip_family,
        load_balancer=args.load_balancer,
        grace_seconds=args.node_monitor_grace_period,
    )
    cluster = EmbeddedCluster(
        home,
        layout,
        images=images,
        simulated=simulated,
        allow_external_ips=args.allow_external_ips,
        dns=read_dns_options(args.dns),
    )
    try:
        await cluster.start()
        refused = await cluster.apply(objects)
        _say_findings(refused)
        code = await _wait_ready(cluster, args, started, stop) or (1 if refused else 0)
        await _serve(cluster, stop)
        return code
    finally:
        await cluster.close()
        home.close()


def read_dns_options(words: list[str]) -> "DnsOptions":
    """``--dns``. Raises :class:`EnvironmentUnfit`."""
    from podwire.snapshot import parse_dns_options

    try:
        return parse_dns_options(tuple(words))
    except ValueError as error:
        raise EnvironmentUnfit(str(error)) from error


def _announce_simulation(args: argparse.Namespace, lacks: str) -> bool:
    """Whether to simulate, having said why. What was asked for needs no words."""
    if lacks and not args.simulate:
        print(f"no packets here: {lacks}", file=sys.stderr)
        print("going on with simulated nodes: API, controllers and trace work, connections do not", file=sys.stderr)
    return bool(lacks) or bool(args.simulate)


async def _wait_ready(cluster: "EmbeddedCluster", args: argparse.Namespace, started: float, stop: asyncio.Event) -> int:
    ready = asyncio.create_task(cluster.wait_ready(args.timeout))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not ready.done():
        ready.cancel()
        return 130
    waiting = ready.result()
    seconds = time.monotonic() - started
    if waiting:
        print(f"networking is not ready after {seconds:.1f} s; it waits for:", file=sys.stderr)
        for line in waiting[:20]:
            print(f"  {line}", file=sys.stderr)
    else:
        print(f"networking ready in {seconds:.2f} s{' (simulated)' if cluster.simulated else ''}", flush=True)
    state = cluster.state
    if state is not None:
        _say_findings(f for f in state.plans.findings if f.severity != "info")
    for line in addresses(cluster):
        print(f"  {line}")
    print(f"  kubeconfig     {cluster.home.kubeconfig}")
    sys.stdout.flush()
    _notify_parent(0 if not waiting else 1)
    return 1 if waiting else 0


def addresses(cluster: "EmbeddedCluster") -> list[str]:
    """What the host can reach: load balancers, ports of nodes, Ingress hosts."""
    state = cluster.state
    if state is None:
        return []
    from podwire.plan import LOOPBACK

    lines: list[str] = []
    for unit in state.plans.services.ports.values():
        lines.extend(f"load balancer  {join_port(ip, unit.port)}  {unit.service.key}" for ip in unit.load_balancer_ips)
        lines.extend(f"host port      {ip}:{unit.port}  {unit.service.key}" for ip in unit.host_ips if ip != LOOPBACK)
        if unit.node_port and not unit.load_balancer_ips:
            node = next(iter(state.plans.services.nodes.values()))
            families = {":" in address for address in unit.cluster_ips}
            places = (join_port(a, unit.node_port) for a in node.addresses if (":" in a) in families)
            lines.extend(f"node port      {place}  {unit.service.key}" for place in places)
    for proxy in state.plans.routes.proxies.values():
        lines.extend(f"ingress host   {host}" for host in proxy.hosts)
    return lines


async def _serve(cluster: "EmbeddedCluster", stop: asyncio.Event) -> None:
    serving = asyncio.create_task(cluster.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if serving.done():
        await serving
    serving.cancel()


def _say_findings(findings: Iterable[Finding]) -> None:
    from podwire.cli.output import print_findings

    print_findings(findings)


_PARENT = "PODWIRE_PARENT_FD"


def _detach(args: argparse.Namespace) -> int:
    """Start ourselves as a daemon and wait until it says ready (or ends)."""
    import subprocess

    from podwire.cluster.home import ClusterHome

    home = ClusterHome(args.name)
    home.open()
    home.close()
    reader, writer = os.pipe()
    argv = [sys.executable, "-m", "podwire", "up", "--name", args.name, "--nodes", str(args.nodes)]
    argv += ["--simulate"] if args.simulate else []
    argv += ["--allow-external-ips"] if args.allow_external_ips else []
    argv += ["--zones", args.zones, "--timeout", str(args.timeout)]
    argv += ["--node-cidr-mask-size", str(args.node_cidr_mask_size)]
    argv += [word for option in args.dns for word in ("--dns", option)]
    argv += ["--ip-family", args.ip_family, "--network", args.network, "--mtu", str(args.mtu)]
    argv += ["--load-balancer", args.load_balancer]
    argv += ["--node-monitor-grace-period", str(args.node_monitor_grace_period)]
    argv += [word for path in args.file for word in ("-f", str(Path(path).absolute()))]
    argv += [word for image in args.image for word in ("--image", image)]
    with home.log.open("wb") as log:
        home.log.chmod(0o600)
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(writer,),
            env={**os.environ, _PARENT: str(writer)},
        )
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        answer = said.read(1)
    print(home.log.read_text(), end="")
    if answer:
        return int(answer)
    return child.wait()


def _notify_parent(code: int) -> None:
    descriptor = os.environ.pop(_PARENT, "")
    if descriptor:
        os.write(int(descriptor), str(code).encode())
        os.close(int(descriptor))
