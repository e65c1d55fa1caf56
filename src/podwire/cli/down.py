"""``podwire down``: stop the process, remove what is left in the kernel, forget the state."""

import argparse
import os
import select
import signal
import sys

from podwire.base import PodwireError
from podwire.cluster.home import ClusterHome, clusters

STOP_SECONDS = 20


def run(args: argparse.Namespace) -> int:
    """0 when nothing of the cluster is left."""
    from podwire.node.cleanup import list_clusters

    names = {args.name}
    if args.all:
        names = {home.name for home in clusters()} | set(list_clusters())
    failed = False
    for name in sorted(names):
        try:
            said = take_down(name, keep=args.keep)
        except PodwireError as error:
            failed = True
            print(f"podwire: {error}", file=sys.stderr)
            continue
        if said or not args.all:
            print(said or f"there is no cluster {name}")
    return 2 if failed else 0


def take_down(name: str, *, keep: bool) -> str:
    """Stop and clean one cluster; what was done in words, empty when there was nothing."""
    from podwire.node.cleanup import clean, list_clusters

    home = ClusterHome(name)
    stopped, known = stop(home), home.path.exists()
    left = name in list_clusters()
    if left:
        clean(name)
    if not keep:
        home.remove()
    return f"cluster {name} is down" if stopped or left or known else ""


def stop(home: ClusterHome) -> bool:
    """End the process of a cluster, if one runs, first politely; whether there was one."""
    pid = home.pid()
    if pid is None:
        return False
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            break
        if select.select([descriptor], [], [], STOP_SECONDS)[0]:
            break
    os.close(descriptor)
    return True
