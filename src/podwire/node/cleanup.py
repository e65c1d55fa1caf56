"""Removing what an earlier podwire left behind, without a runtime: after ``kill -9``, or ``podwire down --all``.

Rules:

1. Only namespaces named ``podwire.<cluster>@...`` and ``podwire.<cluster>.<namespace>.<pod>`` and the host link of
   that cluster are touched.
2. A cluster that runs is left alone: a runtime holds :func:`hold` for as long as it lives, and the kernel lets go of
   it when the process dies, however it dies.
"""

import socket

from podwire.base import EnvironmentUnfit, PodwireError
from podwire.node import fabric, netns


def list_clusters() -> list[str]:
    """Names of the clusters that have namespaces on this machine, running or left over."""
    return sorted({name.removeprefix(netns.PREFIX).split("@")[0] for name in netns.list_names() if "@" in name})


def hold(cluster: str) -> socket.socket:
    """Claim the cluster's name on this machine until the socket is closed.

    Raises :class:`PodwireError` when another process holds it, :class:`EnvironmentUnfit` when the name cannot be used
    as part of a namespace's name.
    """
    if not cluster or not set(cluster) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") or len(cluster) > 63:
        raise EnvironmentUnfit(f"cluster name {cluster!r}: use lower case letters, digits and '-', at most 63")
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        claim.bind(f"\0podwire-node/{cluster}")
    except OSError as error:
        claim.close()
        raise PodwireError(f"cluster {cluster} is running in another process; stop it first") from error
    return claim


def clean(cluster: str) -> None:
    """Remove everything a dead runtime of ``cluster`` left. Raises :class:`PodwireError` while one is running."""
    netns.check_privilege()
    with hold(cluster):
        fabric.remove_everything(cluster)
