"""Work inside a network namespace, from a thread of its own.

A socket keeps the namespace it was made in, so entering one is needed only to make sockets. Python 3.11 has no
``os.setns``. A thread that entered a namespace is never reused.
"""

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from podwire.base import EnvironmentUnfit

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
FOLDER = Path("/run/netns")


def identify_netns(name: str) -> tuple[int, int] | None:
    """What makes a namespace the same one (device and inode); None while there is none of that name."""
    try:
        found = os.stat(FOLDER / name)
        parent = os.stat(FOLDER)
    except FileNotFoundError:
        return None
    # `ip netns add` creates a plain file first and mounts the namespace over it a moment later.
    return (found.st_dev, found.st_ino) if found.st_dev != parent.st_dev else None


def run_in_netns(name: str, work: Callable[[], T]) -> T:
    """Call ``work`` in a fresh thread inside namespace ``name``; blocks until it is done.

    Raises :class:`FileNotFoundError` when the namespace is gone, :class:`podwire.base.EnvironmentUnfit` when it may
    not be entered, and whatever ``work`` raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            _enter(name)
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, name=f"netns-{name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter(name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            if code == errno.EINVAL:  # a plain file: the namespace will be mounted over it a moment later
                raise FileNotFoundError(errno.ENOENT, "not a namespace yet", name)
            raise EnvironmentUnfit(f"cannot enter network namespace {name}: {os.strerror(code)} (fix: run as root)")
    finally:
        os.close(descriptor)
