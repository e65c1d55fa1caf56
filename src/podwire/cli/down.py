"""``podwire down``: stop the process, remove what is left in the kernel, forget the state."""

import argparse
import os
import select
import signal

from podwire.cluster.home import ClusterHome, clusters

STOP_SECONDS = 20


def run(args: argparse.Namespace) -> int:
    """0 when nothing of the cluster is left."""
    from podwire.node.cleanup import clean, list_clusters

    names = {args.name}
    if args.all:
        names = {home.name for home in clusters()} | set(list_clusters())
    for name in sorted(names):
        home = ClusterHome(name)
        stopped = stop(home)
        left = name in list_clusters()
        if left:
            clean(name)
        known = home.path.exists()
        if not args.keep:
            home.remove()
        if stopped or left or known:
            print(f"cluster {name} is down")
        elif not args.all:
            print(f"there is no cluster {name}")
    return 0


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
