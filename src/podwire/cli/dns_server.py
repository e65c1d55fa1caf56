"""``podwire dns-server``: cluster DNS as a process of its own, for a real cluster or a folder of manifests."""

import argparse
import asyncio

from podwire.base import EnvironmentUnfit


def run(args: argparse.Namespace) -> int:
    """Serve until stopped: 0; 2 when that is not possible."""
    import msgspec

    from podwire.cli.up import read_dns_options
    from podwire.client.kubeconfig import read_kubeconfig
    from podwire.cluster.dnsrole import RoleOptions, print_line, serve_dns
    from podwire.cluster.embedded import host_nameservers
    from podwire.snapshot import Settings

    if bool(args.file) == bool(args.kubeconfig):
        raise EnvironmentUnfit("say what to serve: a folder with -f, or a cluster with --kubeconfig")
    if args.workers < 1:
        raise EnvironmentUnfit(f"--workers {args.workers}: at least 1")
    upstreams = tuple(args.upstream) or host_nameservers()
    wanted = read_dns_options(args.dns)
    settings = msgspec.structs.replace(Settings(), domain=args.domain, upstreams=upstreams, dns=wanted)
    options = RoleOptions(
        listen=args.listen,
        health=args.health,
        ready=args.ready,
        metrics=args.metrics,
        workers=args.workers,
        corefile=args.corefile,
        settings=settings,
    )
    access = read_kubeconfig(args.kubeconfig) if args.kubeconfig else None
    return asyncio.run(serve_dns(options, access=access, paths=args.file, say=print_line))
