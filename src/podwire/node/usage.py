"""What containers use: processor time and memory of their processes, read from /proc.

Rules:

1. A process belongs to the container whose mount namespace it is in, so that exec sessions count, and processes that
   containers share are not counted twice.
2. Everything is read at once, at most once in :data:`KEEP_SECONDS`. The rate is that since the reading before; of a
   container that was not read before, since its start.
3. Memory is the proportional set size: shared pages are shared out. A stand-in has no processes and uses nothing that
   could be told from podwire itself.

Not here: cgroups. They need a delegated hierarchy, which neither containers nor rootless machines have.

Source: proc_pid_stat(5), proc_pid_smaps(5).
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec

KEEP_SECONDS: Final = 2.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
Key = tuple[str, str]
"""Uid of the pod, name of the container."""


class Usage(msgspec.Struct, frozen=True):
    """What something used in the ``window_seconds`` before ``at`` (seconds since the epoch)."""

    at: float
    window_seconds: float
    cpu_nanocores: int
    memory_bytes: int


class Running(msgspec.Struct, frozen=True):
    """A container that runs: the process id of its program (0: it has none) and when it started."""

    pid: int
    started_at: float


class _Sample(msgspec.Struct, frozen=True):
    pid: int
    at: float
    cpu_seconds: float


class Meter:
    """Reads and remembers."""

    def __init__(self, running: Callable[[], Mapping[Key, Running]], now: Callable[[], float]) -> None:
        """``running`` gives the containers of the moment."""
        self._running = running
        self._now = now
        self._samples: dict[Key, _Sample] = {}
        self._usage: dict[Key, Usage] = {}
        self._read_at = float("-inf")

    def usage(self) -> Mapping[Key, Usage]:
        """What every running container uses (rule 2)."""
        now = self._now()
        if now - self._read_at < KEEP_SECONDS:
            return self._usage
        self._read_at = now
        running = self._running()
        roots = {root: key for key, found in running.items() if found.pid and (root := root_of(found.pid))}
        totals = read_totals(roots)
        before, self._samples, self._usage = self._samples, {}, {}
        for key, found in running.items():
            cpu, memory = totals.get(key, (0.0, 0))
            sample = self._samples[key] = _Sample(found.pid, now, cpu)
            last = before.get(key)
            if last is None or last.pid != found.pid:
                last = _Sample(found.pid, min(found.started_at, now - 0.01), 0.0)
            window = max(now - last.at, 0.01)
            rate = max(0.0, sample.cpu_seconds - last.cpu_seconds) / window
            self._usage[key] = Usage(now, window, int(rate * 1e9), memory)
        return self._usage


def add_up(parts: list[Usage]) -> Usage | None:
    """What they use together; None for none."""
    if not parts:
        return None
    return Usage(
        min(p.at for p in parts),
        max(p.window_seconds for p in parts),
        sum(p.cpu_nanocores for p in parts),
        sum(p.memory_bytes for p in parts),
    )


def root_of(pid: int) -> int:
    """The number of a process' mount namespace; 0 when it is gone."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except OSError:
        return 0


def read_totals(roots: Mapping[int, Key]) -> dict[Key, tuple[float, int]]:
    """Processor seconds and bytes of memory by container; ``roots`` are their mount namespaces."""
    totals: dict[Key, tuple[float, int]] = {}
    if not roots:
        return totals
    for name in os.listdir("/proc"):
        if not name.isdigit() or (key := roots.get(root_of(int(name)))) is None:
            continue
        with suppress(OSError, ValueError, IndexError):  # it ends while we look
            seconds, memory = totals.get(key, (0.0, 0))
            totals[key] = seconds + _read_seconds(name), memory + _read_memory(name)
    return totals


def _read_seconds(pid: str) -> float:
    """Of the process and of the children it has waited for."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def _read_memory(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as table:
            return next(int(line.split()[1]) * 1024 for line in table if line.startswith("Pss:"))
    except (OSError, StopIteration):
        with open(f"/proc/{pid}/statm", encoding="utf-8") as statm:
            return int(statm.read().split()[1]) * _PAGE
