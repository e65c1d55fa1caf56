"""What the parts of one pod share: its unit, where it lives, and the services of the runtime."""

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from podwire.base import stable_hash
from podwire.node.certificate import StandInTls
from podwire.node.checks import Checker
from podwire.node.fabric import netns_of
from podwire.node.launch import Launcher, Program, Request
from podwire.node.logs import LogStore
from podwire.node.volumes import VolumeStore
from podwire.plan import EventFact, node_netns
from podwire.plan.node import CAPABILITIES, Container, Pod, ProcessWork

if TYPE_CHECKING:
    from podwire.node.work import Run

_STANDARD_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Services:
    """What all pods of a runtime use."""

    def __init__(
        self,
        *,
        state_dir: Path,
        logs: LogStore,
        launcher: Launcher,
        checker: Checker,
        tls: StandInTls,
        store: VolumeStore,
    ) -> None:
        """Plain parts, made by the runtime. Where volumes are: :mod:`podwire.node.volumes`."""
        self.volumes = state_dir / "volumes"
        self.store = store
        self.logs = logs
        self.launcher = launcher
        self.checker = checker
        self.tls = tls

    def forget_stale(self, uids: set[str]) -> None:
        """Remove what an earlier run left: all logs, and the volumes of pods that are no more."""
        self.logs.remove_all()
        with suppress(FileNotFoundError):
            for uid in set(os.listdir(self.volumes)) - uids:
                shutil.rmtree(self.volumes / uid, ignore_errors=True)

    def forget(self, uid: str) -> None:
        """Remove what a pod kept on disk."""
        self.logs.remove(uid)
        self.store.forget(uid)

    def message_folder(self, uid: str) -> Path:
        """Where the termination messages of a pod are; no volume can have this name."""
        return self.volumes / uid / ".messages"


class PodContext:
    """One pod: its newest unit, its address, and how to speak up. Times are seconds since the epoch."""

    def __init__(
        self,
        cluster: str,
        unit: Pod,
        addresses: tuple[str, ...],
        *,
        services: Services,
        emit: Callable[[EventFact], None],
        changed: Callable[[], None],
    ) -> None:
        """``emit`` takes an event; ``changed`` says that the pod's fact may be another one now."""
        self.unit = unit
        self.addresses = addresses
        self.netns = netns_of(cluster, unit)
        self.node_netns = node_netns(cluster, unit.node)
        self.services = services
        self.changed = changed
        self.taken: dict[tuple[int, str], str] = {}
        self.first: Program | None = None
        self._making_first = asyncio.Lock()
        self.find_run: Callable[[str], Run | None] = lambda _: None
        self._emit = emit
        self._said: set[tuple[str, str]] = set()

    @property
    def address(self) -> str:
        """The primary address: what probes and hooks ask when they name no host."""
        return self.addresses[0]

    def now(self) -> float:
        """The time."""
        return time.time()

    def event(self, kind: Literal["Normal", "Warning"], reason: str, message: str, *, source: str = "kubelet") -> None:
        """An event on the pod."""
        ref, uid = self.unit.pod, self.unit.uid
        self._emit(EventFact("Pod", ref.namespace, ref.name, uid, kind, reason, message, source, self.now()))

    def event_once(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """As :meth:`event`, but the same words only once in the pod's life."""
        if (reason, message) not in self._said:
            self._said.add((reason, message))
            self.event(kind, reason, message, source="podwire")

    def container_id(self, container: str, run: int) -> str:
        """A stable name of one run of a container."""
        return f"podwire://{stable_hash(f'{self.unit.uid}/{container}/{run}', size_bytes=16)}"

    def request(self, container: Container, argv: tuple[str, ...], *, cwd: str = "", tty: bool = False) -> Request:
        """A program as this container would see it: environment, files, names."""
        unit, user, kept = self.unit, container.user, container.capabilities
        files = [(f.path, f.mode, f.content) for f in container.files]
        mine = {path for path, _, _ in files}
        files += [f for f in self._name_files() if f[0] not in mine]
        return Request(
            self.netns,
            argv,
            self._environment(container, tty=tty),
            cwd=cwd,
            hostname=unit.hostname[:64],
            files=tuple(files),
            binds=container.work.binds if isinstance(container.work, ProcessWork) else (),
            root=container.work.root if isinstance(container.work, ProcessWork) else (),
            mounts=self.services.store.mounts(unit, container),
            user=user.user,
            group=user.group,
            groups=user.groups,
            keep=None if kept is None else tuple(CAPABILITIES.index(name) for name in kept),
            read_only=container.read_only_root,
            no_new_privileges=container.no_new_privileges,
            tty=tty,
        )

    async def first_process(self) -> Program:
        """The process that keeps the namespace of a pod whose containers share their processes.

        Raises :class:`podwire.base.PodwireError`.
        """
        async with self._making_first:
            if self.first is None or self.first.exited.done():
                request = Request(self.netns, ("sleep", "infinity"), {"PATH": _STANDARD_PATH}, reaps=True)
                streams = tuple(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC) for _ in range(3))
                self.first = await self.services.launcher.start(request, (streams[0], streams[1], streams[2]))
            return self.first

    def _environment(self, container: Container, *, tty: bool) -> dict[str, str]:
        alone = isinstance(container.work, ProcessWork) and container.work.root
        own = [part for part in os.environ.get("PATH", "").split(":") if part and not alone]
        path = ":".join(dict.fromkeys([*own, *_STANDARD_PATH.split(":")]))
        base = {"PATH": path, "HOME": "/root", "HOSTNAME": self.unit.hostname}
        return base | ({"TERM": "xterm"} if tty else {}) | dict(container.env)

    def _name_files(self) -> list[tuple[str, int, bytes]]:
        files = [
            ("/etc/hosts", 0o644, render_hosts(self.unit, self.addresses).encode()),
            ("/etc/hostname", 0o644, f"{self.unit.hostname}\n".encode()),
        ]
        if self.unit.resolv_conf:
            files.append(("/etc/resolv.conf", 0o644, self.unit.resolv_conf.encode()))
        return files


def render_hosts(pod: Pod, addresses: tuple[str, ...]) -> str:
    """/etc/hosts as a kubelet writes it: localhost, the pod itself, then what the plan adds."""
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
    ]
    if not any(pod.hostname in names for _, names in pod.hosts):
        lines += [f"{address}\t{pod.hostname}" for address in addresses]
    lines += ["\t".join((entry, *names)) for entry, names in pod.hosts if "localhost" not in names]
    return "\n".join(lines) + "\n"
