"""Kernel settings of a node's namespace that a KubeProxyConfiguration asks for.

Rules:

1. A setting that is asked for no more gets back the value it had before we touched it.
2. What cannot be written is said; nothing else depends on it.

Source: kubernetes ``cmd/kube-proxy/app/conntrack.go``.
"""

from collections.abc import Mapping
from pathlib import Path

from podwire.plan import ConntrackSettings
from podwire.planes.nft.netns import run_in_netns

_FOLDER = Path("/proc/sys/net/netfilter")


def render_sysctls(wanted: ConntrackSettings) -> dict[str, str]:
    """Values by name; a timeout of 0 is left to the kernel."""
    timeouts = {
        "nf_conntrack_tcp_timeout_established": wanted.established_seconds,
        "nf_conntrack_tcp_timeout_close_wait": wanted.close_wait_seconds,
        "nf_conntrack_udp_timeout": wanted.udp_seconds,
        "nf_conntrack_udp_timeout_stream": wanted.udp_stream_seconds,
    }
    values = {name: str(seconds) for name, seconds in timeouts.items() if seconds}
    return {**values, "nf_conntrack_tcp_be_liberal": str(int(wanted.liberal))}


class Sysctls:
    """The settings of one namespace."""

    def __init__(self) -> None:
        """Nothing was touched."""
        self._before: dict[str, str] = {}
        self._wanted: Mapping[str, str] | None = None
        self._refused = ""

    def apply(self, netns: str, wanted: Mapping[str, str]) -> str:
        """Make it so; what could not be, in words. Costs nothing while ``wanted`` stays the same."""
        if wanted != self._wanted:
            self._refused = run_in_netns(netns, lambda: self._write(wanted))
            self._wanted = wanted
        return self._refused

    def _write(self, wanted: Mapping[str, str]) -> str:
        refused = []
        restored = {name: value for name, value in self._before.items() if name not in wanted}
        for name, value in {**restored, **wanted}.items():
            try:
                known = (_FOLDER / name).read_text().strip()
                if known != value:
                    (_FOLDER / name).write_text(value)
            except OSError as error:
                refused.append(f"{name} cannot be {value}: {error.strerror}")
            else:
                self._before.setdefault(name, known)
        for name in restored:
            del self._before[name]
        return "; ".join(refused)
