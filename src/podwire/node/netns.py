"""Network namespaces by name under /run/netns, as iproute2 keeps them.

Rules:

1. ``ip netns exec NAME`` works on every namespace made here.
2. A thread that enters a namespace leaves it again before it returns; a failure to leave ends the process, because
   every later socket would silently belong to the wrong namespace.
3. Only names that start with :data:`PREFIX` are ever removed.

Source: iproute2 ``ip/ipnetns.c``; setns(2), unshare(2), network_namespaces(7).
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from podwire.base import EnvironmentUnfit, PodwireError

RUN: Final = "/run/netns"
PREFIX: Final = "podwire."
CLONE_NEWNET: Final = 0x40000000
MS_BIND, MS_REC, MS_SHARED, MNT_DETACH = 0x1000, 0x4000, 0x100000, 2
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: str, flags: int) -> None:
    _check(_libc.mount(source.encode(), target.encode(), b"none", flags, None), f"mount {target}")


def check_privilege() -> None:
    """Raises :class:`EnvironmentUnfit` when this process may not make namespaces and links."""
    bits = 0
    with suppress(OSError), open("/proc/self/status", encoding="utf-8") as status:
        bits = next((int(line.split()[1], 16) for line in status if line.startswith("CapEff")), 0)
    missing = [name for name, bit in (("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)) if not bits >> bit & 1]
    if missing:
        raise EnvironmentUnfit(
            f"nodes and pods need {' and '.join(missing)}; run podwire as root, "
            "or use the offline commands, which need no privilege"
        )


def ensure_mount_point() -> None:
    """Make /run/netns a shared mount, so that other mount namespaces see namespaces come and go."""
    try:
        os.makedirs(RUN, mode=0o755, exist_ok=True)
        try:
            _mount("", RUN, MS_SHARED | MS_REC)
        except OSError:
            _mount(RUN, RUN, MS_BIND | MS_REC)
            _mount("", RUN, MS_SHARED | MS_REC)
    except OSError as error:
        raise EnvironmentUnfit(f"cannot make {RUN} a shared mount: {error}; it needs CAP_SYS_ADMIN") from error


def path_of(name: str) -> str:
    """Where the namespace's file is."""
    return f"{RUN}/{name}"


def list_names(prefix: str = PREFIX) -> list[str]:
    """Names of our namespaces, sorted."""
    with suppress(FileNotFoundError):
        return sorted(name for name in os.listdir(RUN) if name.startswith(prefix) and name.startswith(PREFIX))
    return []


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Run the block with this thread inside the namespace. Raises :class:`PodwireError` when there is none."""
    try:
        target = os.open(path_of(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise PodwireError(f"network namespace {name} is gone") from error
    try:
        if os.fstat(target).st_dev == os.stat(RUN).st_dev:  # a plain file: the namespace is mounted a moment later
            raise PodwireError(f"network namespace {name} is not there yet")
        with inside(target, name):
            yield
    finally:
        os.close(target)


@contextmanager
def inside(descriptor: int, name: str = "a container") -> Iterator[None]:
    """Run the block with this thread inside the namespace that ``descriptor`` is open on."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, CLONE_NEWNET), f"enter {name}")
        try:
            yield
        finally:
            if _libc.setns(home, CLONE_NEWNET) < 0:
                os.abort()
    finally:
        os.close(home)


@contextmanager
def created(name: str) -> Iterator[int]:
    """Create the namespace and run the block inside it; yields its file descriptor, closed afterwards.

    A namespace of that name left over from earlier is replaced; one whose block fails is removed again.
    """
    delete(name)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(CLONE_NEWNET), "create a network namespace")
        try:
            os.close(os.open(path_of(name), os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
            _mount("/proc/thread-self/ns/net", path_of(name), MS_BIND)
            descriptor = os.open(path_of(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield descriptor
            except BaseException:
                delete(name)
                raise
            finally:
                os.close(descriptor)
        finally:
            if _libc.setns(home, CLONE_NEWNET) < 0:
                os.abort()
    finally:
        os.close(home)


def delete(name: str) -> None:
    """Remove the name; the kernel removes the namespace when its last socket and process are gone."""
    if not name.startswith(PREFIX):
        raise ValueError(f"{name} is not ours")
    path = path_of(name)
    while _libc.umount2(path.encode(), MNT_DETACH) == 0:
        pass
    with suppress(FileNotFoundError):
        os.unlink(path)


def set_sysctls(values: tuple[tuple[str, str], ...]) -> None:
    """Write ``/proc/sys/net`` of the namespace this thread is in; a key this kernel lacks is left out."""
    for key, value in values:
        with suppress(FileNotFoundError):
            descriptor = os.open(f"/proc/sys/net/{key}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, value.encode())
            finally:
                os.close(descriptor)
