"""Where clusters keep their state: ``$PODWIRE_HOME/<cluster>`` (default ``~/.podwire``), mode 0700.

Rules:

1. One process per cluster: it holds an exclusive lock on ``lock`` for as long as it lives, so a killed process leaves
   no stale claim.
2. Each cluster has a number N of its own, and by it the subnets of its nodes (``10.89.N.0/24``, ``fd00:10:89:N::/64``),
   chosen once and recorded with its address families, so that several run side by side and addresses stay the same
   across restarts.
"""

import fcntl
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from podwire.base import Cidr, EnvironmentUnfit

if TYPE_CHECKING:
    from podwire.cluster.addresses import IpFamily

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
FABRICS = range(256)
CLAIMS = Path("/run/podwire")


class ClusterHome:
    """The directory of one cluster."""

    def __init__(self, name: str) -> None:
        """Names nothing on disk yet. Raises :class:`EnvironmentUnfit` for a name that is no DNS label of 32."""
        if not NAME.fullmatch(name):
            raise EnvironmentUnfit(f"cluster name {name!r}: use up to 32 lower-case letters, digits and '-'")
        self.name = name
        self.path = home_path() / name
        self._lock: int | None = None
        self._fabric_claim: int | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, 0600."""
        return self.path / "kubeconfig"

    @property
    def database(self) -> Path:
        """The API server's store."""
        return self.path / "state.db"

    @property
    def settings(self) -> Path:
        """What the cluster was started with, for questions about it."""
        return self.path / "settings.json"

    @property
    def run(self) -> Path:
        """Sockets and generated configuration of the running process."""
        return self.path / "run"

    @property
    def log(self) -> Path:
        """Output of a detached process."""
        return self.path / "podwire.log"

    def exists(self) -> bool:
        """Whether the cluster was ever started and not taken down."""
        return (self.path / "cluster.json").exists()

    def open(self) -> None:
        """Create the directory and take the lock. Raises :class:`EnvironmentUnfit` when another process holds it."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chmod(home_path(), 0o700)
        os.chmod(self.path, 0o700)
        self.run.mkdir(exist_ok=True, mode=0o700)
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise EnvironmentUnfit(
                f"cluster {self.name!r} is already running (pid {self.pid() or '?'}); "
                f"use --name for another one, or: podwire down --name {self.name}"
            ) from error
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def close(self) -> None:
        """Release the lock and the fabric."""
        for descriptor in (self._lock, self._fabric_claim):
            if descriptor is not None:
                os.close(descriptor)
        self._lock = self._fabric_claim = None

    def pid(self) -> int | None:
        """The process that holds the lock, or None when none does."""
        try:
            with (self.path / "lock").open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    text = file.read().strip()
                    return int(text) if text.isdigit() else None
                return None
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Forget the cluster. The lock must be held or nobody must hold it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def ensure_number(self, family: "IpFamily" = "ipv4") -> int:
        """The recorded number, or a free one, which is then recorded. It is ours until this process ends.

        Raises :class:`EnvironmentUnfit` when none is free, and when the cluster was made with other families.
        """
        record = self.path / "cluster.json"
        if record.exists():
            return self._recorded(family)
        from podwire.cluster.addresses import fabrics_of

        taken = {other.fabric() for other in clusters()}
        for number in FABRICS:
            fabric = f"10.89.{number}.0/24"
            free = fabric not in taken and not any(map(_host_uses, fabrics_of("dual", number)))
            if free and self._claim(fabric):
                record.write_text(json.dumps({"fabric": fabric, "ip_family": family}) + "\n")
                record.chmod(0o600)
                return number
        raise EnvironmentUnfit("no free fabric in 10.89.0.0/16: take a cluster down first")

    def _recorded(self, family: "IpFamily") -> int:
        fabric = self.fabric()
        made = json.loads((self.path / "cluster.json").read_text()).get("ip_family", "ipv4")
        if made != family:
            raise EnvironmentUnfit(
                f"cluster {self.name!r} was made with --ip-family {made}: use that, another --name, or first: "
                f"podwire down --name {self.name}"
            )
        if not self._claim(fabric):
            raise EnvironmentUnfit(f"fabric {fabric} of cluster {self.name!r} is in use by another process")
        return int(fabric.split(".")[2])

    def _claim(self, fabric: str) -> bool:
        """Machine-wide, across homes: a lock that the kernel releases when the process ends."""
        CLAIMS.mkdir(exist_ok=True, mode=0o700)
        name = fabric.replace("/", "-")
        claim = os.open(CLAIMS / f"fabric-{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(claim)
            return False
        self._fabric_claim = claim
        return True

    def fabric(self) -> str:
        """The recorded fabric, or empty."""
        record = self.path / "cluster.json"
        return str(json.loads(record.read_text())["fabric"]) if record.exists() else ""


def home_path() -> Path:
    """``$PODWIRE_HOME`` or ``~/.podwire``."""
    return Path(os.environ.get("PODWIRE_HOME") or Path.home() / ".podwire")


def clusters() -> Iterator[ClusterHome]:
    """Every recorded cluster, by name."""
    for path in sorted(home_path().glob("*/cluster.json")):
        yield ClusterHome(path.parent.name)


def _host_uses(fabric: str) -> bool:
    """Whether this machine has an address in ``fabric``: a cluster of another home, or a network of the user's."""
    block = Cidr.parse(fabric)
    try:
        with socket.socket(socket.AF_INET if block.family == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((str(block.network[1]), 9))
            return block.contains(probe.getsockname()[0])
    except OSError:  # no way there, or no such family
        return False
