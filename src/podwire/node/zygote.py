"""The fork server: a small single-threaded process that turns start requests into container processes.

Run as a script (``python -I -S zygote.py FD ROOT``), never imported by the runtime. It exists because forking the
runtime itself would copy a large threaded process, and ``nsenter`` plus ``unshare`` cost two more program starts.

Rules:

1. A request is one datagram with descriptors: payload (memfd, marshal), stdin, stdout, stderr, network namespace.
2. A program runs in its own PID, mount and UTS namespace and the given network namespace. Its root is an overlay over
   the machine's, so it may write anywhere and nothing of that reaches the machine. One that is started *beside* another
   has a root of its own among the other's processes; when it ends, whatever it started (same mount namespace) ends.
3. Nothing outlives the runtime: when the socket ends, every program is killed; when this process is killed, the
   kernel kills them (PDEATHSIG), and with each first process its whole PID namespace.
4. As under an init process, a first process without a handler for a terminating signal ends at once with that signal
   (the kernel would ignore it for PID 1).
5. Answers: ``("started", id, pid)``, ``("failed", id, errno, text)``, ``("exit", id, code)``; code is 128 + signal for
   a killed program.

Sources: pid_namespaces(7), mount_namespaces(7), overlayfs documentation, pivot_root(2) "pivot_root(".", ".")";
docs/lab/2026-11-24-namespaces-and-links.md, docs/lab/2026-11-24-container-roots.md.
"""

import ctypes
import marshal
import os
import select
import signal
import socket
import stat
import struct
import sys
from collections import deque
from contextlib import suppress
from typing import Any

NEWNS, NEWUTS, NEWPID, NEWNET = 0x20000, 0x4000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE, MNT_DETACH = 2, 4, 0x1000, 0x2000, 0x4000, 0x40000, 2
MS_RDONLY, MS_REMOUNT = 1, 32
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
PR_SET_PDEATHSIG, SYS_PIVOT_ROOT, TIOCSCTTY = 1, {"x86_64": 155, "aarch64": 41}, 0x540E
DEFAULT_FATAL = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "fuse")
LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
NOT_SHOWN = ("/proc/", "/sys/", "/dev/", "/run/netns/", "/run/docker/", "/var/lib/docker/", "/var/lib/containerd/")
libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise the C library's error."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2)."""
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None)
    check(libc.mount(*arguments), f"mount {kind} at {target}")


def list_submounts() -> list[str]:
    """Mount points that an overlay over ``/`` would not show, parents first."""
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        found = sorted({line.split()[4].replace("\\040", " ") for line in table})
    return [point for point in found if point != "/" and not f"{point}/".startswith(NOT_SHOWN)]


class Program:
    """What the server knows about one started program."""

    def __init__(self, ident: int, pid: int, *, joins: bool, alone: bool) -> None:
        """``joins``: it lives in another one's root. ``alone``: it is the first process of its own PID namespace."""
        self.ident = ident
        self.pid = pid
        self.joins = joins
        self.alone = alone
        self.ended_by = 0
        self.root = 0 if joins or alone else mount_namespace_of(pid)


class Server:
    """The loop: requests in, programs started, exits out."""

    def __init__(self, channel: socket.socket, root: str) -> None:
        """``root`` is an empty directory used as mount point inside each program's own mount namespace."""
        self.channel = channel
        self.channel.set_inheritable(False)
        self.answers: deque[bytes] = deque()
        self.root = root
        self.by_pid: dict[int, Program] = {}
        self.by_ident: dict[int, Program] = {}
        self.home_pid = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.failures: dict[int, tuple[int, Program]] = {}
        check(libc.unshare(NEWNS), "unshare")
        mount("", "/", "none", MS_REC | MS_PRIVATE)
        libc.umount2(b"/run/netns", MNT_DETACH)
        self.submounts = list_submounts()

    def run(self) -> None:
        """Serve until the runtime's end of the socket is closed."""
        wake, wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poller = select.poll()
        poller.register(self.channel, select.POLLIN)
        poller.register(wake, select.POLLIN)
        while True:
            poller.modify(self.channel, select.POLLIN | (select.POLLOUT if self.answers else 0))
            for descriptor, events in poller.poll():
                if descriptor == wake:
                    with suppress(BlockingIOError):
                        os.read(wake, 4096)
                elif events & ~select.POLLOUT and not self.serve():
                    self.kill_all()
                    return
            self.reap()
            self.flush()

    def kill_all(self) -> None:
        """Kill and collect every program."""
        for pid in self.by_pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self.by_pid:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def send(self, *answer: Any) -> None:
        """Queue one answer. Never waits: the runtime may itself be waiting for us to take a request."""
        self.answers.append(marshal.dumps(answer))

    def flush(self) -> None:
        """Send what the socket takes; a runtime that is gone is noticed by the next read."""
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self.answers:
                self.channel.send(self.answers[0], socket.MSG_DONTWAIT)
                self.answers.popleft()

    def reap(self) -> None:
        """Report every program that ended."""
        while self.by_pid:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            program = self.by_pid.pop(pid, None)
            if program is None:
                continue
            self.by_ident.pop(program.ident, None)
            if program.root:
                kill_all_of(program.root)
            code = os.waitstatus_to_exitcode(status)
            if code < 0 and program.ended_by:
                code = -program.ended_by
            self.send("exit", program.ident, code if code >= 0 else 128 - code)

    def serve(self) -> bool:
        """One request; False when the runtime is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.channel, 65536, 8)
        except ConnectionResetError:
            return False
        if not data:
            return False
        for descriptor in descriptors:  # recv_fds of Python 3.11 does not pass MSG_CMSG_CLOEXEC on
            os.set_inheritable(descriptor, False)
        operation, ident, value = marshal.loads(data)  # noqa: S302  # from our own parent
        try:
            if operation == "start":
                self.start(ident, descriptors)
            elif operation == "signal":
                self.signal(ident, value)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def signal(self, ident: int, number: int) -> None:
        """Deliver a signal, with the meaning it has for an ordinary process."""
        program = self.by_ident.get(ident)
        if program is None:
            return
        deliver = number
        if program.alone and number in DEFAULT_FATAL and not handles(program.pid, number):
            program.ended_by, deliver = number, signal.SIGKILL
        with suppress(ProcessLookupError):
            (os.killpg if program.joins else os.kill)(program.pid, deliver)

    def start(self, ident: int, descriptors: list[int]) -> None:
        """Fork a program and say how that went."""
        payload, *streams = descriptors
        request = marshal.loads(os.pread(payload, os.fstat(payload).st_size, 0))  # noqa: S302
        said, say = os.pipe2(os.O_CLOEXEC)
        try:
            pid = self.fork(request, streams, say)
        except OSError as error:
            self.send("failed", ident, error.errno or 0, str(error.strerror))
            os.close(said)
            os.close(say)
            return
        os.close(say)
        failure = b""
        while chunk := os.read(said, 4096):
            failure += chunk
        os.close(said)
        if failure:
            os.waitpid(pid, 0)
            self.send("failed", ident, *marshal.loads(failure))  # noqa: S302
            return
        joins = bool(request["join"])
        program = Program(ident, pid, joins=joins, alone=not joins and not request["beside"])
        self.by_pid[pid] = self.by_ident[ident] = program
        self.send("started", ident, pid)

    def find(self, ident: int) -> Program | None:
        """The program whose namespaces are shared; none for 0. Raises :class:`OSError` when it has ended."""
        if not ident:
            return None
        found = self.by_ident.get(ident)
        if found is None:
            raise ProcessLookupError(3, "the container's process has ended")
        return found

    def fork(self, request: dict[str, Any], streams: list[int], say: int) -> int:
        """The child's process id; in the child this does not return."""
        joined = self.find(request["join"])
        near = joined or self.find(request["beside"])
        spaces = [os.open(f"/proc/{joined.pid}/ns/{kind}", os.O_RDONLY) for kind in ("mnt", "uts")] if joined else []
        if near:
            target = os.open(f"/proc/{near.pid}/ns/pid", os.O_RDONLY)
            check(libc.setns(target, NEWPID), "join the container's processes")
            os.close(target)
        else:
            check(libc.unshare(NEWPID), "create a PID namespace")
        try:
            pid = os.fork()
            if pid == 0:
                self.become(request, streams, spaces, say)
        finally:
            check(libc.setns(self.home_pid, NEWPID), "leave a PID namespace")
            for space in spaces:
                os.close(space)
        return pid

    def become(self, request: dict[str, Any], streams: list[int], spaces: list[int], say: int) -> None:
        """In the child: turn into the program, or report why not."""
        try:
            check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            check(libc.setns(streams[3], NEWNET), "enter the pod's network")
            if spaces:
                for space in spaces:
                    check(libc.setns(space, 0), "enter the container")
            else:
                furnish(request, self.root, self.submounts)
            attach(streams, tty=request["tty"])
            if request["reaps"]:
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            execute(request)
        except OSError as error:
            os.write(say, marshal.dumps((error.errno or 0, str(error.strerror or error))))
        except BaseException as error:
            os.write(say, marshal.dumps((0, repr(error))))
        finally:
            os._exit(127)


def handles(pid: int, number: int) -> bool:
    """Whether the process catches or ignores a signal itself."""
    with suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
        rows = dict(line.rstrip("\n").split(":\t", 1) for line in status if line.startswith("Sig"))
        return bool((int(rows["SigCgt"], 16) | int(rows["SigIgn"], 16)) >> (number - 1) & 1)
    return True


def mount_namespace_of(pid: int) -> int:
    """The number of a process' mount namespace; 0 when the process is gone."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except OSError:
        return 0


def kill_all_of(root: int) -> None:
    """Kill every process of a mount namespace."""
    for name in os.listdir("/proc"):
        if name.isdigit() and mount_namespace_of(int(name)) == root:
            with suppress(ProcessLookupError):
                os.kill(int(name), signal.SIGKILL)


def furnish(request: dict[str, Any], root: str, submounts: list[str]) -> None:
    """The program's own root, host name and files."""
    check(libc.unshare(NEWNS | NEWUTS), "create a mount namespace")
    mount("tmpfs", root, "tmpfs", 0, "mode=755")
    upper, work, merged = (f"{root}/{name}" for name in ("upper", "work", "root"))
    for folder in (upper, work, merged):
        os.mkdir(folder, 0o755)
    lower = ":".join(folder.replace(":", "\\:") for folder in request["root"]) or "/"
    mount("overlay", merged, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")
    if not request["root"]:
        show_all(request, root, merged, submounts)
    for folder in request["binds"]:
        os.makedirs(merged + folder, exist_ok=True)
        mount(folder, merged + folder, "none", MS_BIND)
    furnish_system(merged)
    hold_mounts(request["mounts"], f"{merged}/.podwire")
    os.chdir(merged)
    check(libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    check(libc.umount2(b".", MNT_DETACH), "leave the machine's root")
    os.chdir("/")
    name = request["hostname"].encode()
    check(libc.sethostname(name, len(name)), "sethostname")
    place_mounts(request["mounts"])
    for path, mode, content in request["files"]:
        place(path, mode, content)
    if request["read_only"]:
        os.makedirs(request["cwd"] or "/", exist_ok=True)
        mounted = {path.rstrip("/") for path, _, _ in request["mounts"]}
        for point in ("/", *(p for p in submounts if not request["root"] and p not in mounted)):
            with suppress(FileNotFoundError):  # a mount of the machine that could not be shown
                mount("", point, "none", MS_BIND | MS_REMOUNT | MS_RDONLY)


def show_all(request: dict[str, Any], root: str, merged: str, submounts: list[str]) -> None:
    """The machine's mounts within the program's root."""
    placed = {path for path, _, _ in request["files"]}
    for number, point in enumerate(submounts):
        if point not in placed:
            with suppress(OSError):  # what cannot be shown is not there
                show(point, merged + point, f"{root}/{number}")


def furnish_system(merged: str) -> None:
    """/dev of its own with the usual devices and the machine's terminals, /proc and /sys."""
    for name in ("dev", "proc", "sys"):
        os.makedirs(f"{merged}/{name}", exist_ok=True)
    dev = f"{merged}/dev"
    mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=755,size=64k")
    for name in DEVICES:
        show_device(f"/dev/{name}", f"{dev}/{name}")
    for folder in ("pts", "shm", "net"):
        os.mkdir(f"{dev}/{folder}")
    mount("/dev/pts", f"{dev}/pts", "none", MS_BIND)
    mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=65536k")
    show_device("/dev/net/tun", f"{dev}/net/tun")
    for name, target in LINKS:
        os.symlink(target, f"{dev}/{name}")
    mount("proc", merged + "/proc", "proc", MS_NOSUID | MS_NODEV)
    try:
        mount("sysfs", merged + "/sys", "sysfs", MS_NOSUID | MS_NODEV)
    except OSError:
        mount("/sys", merged + "/sys", "none", MS_BIND | MS_REC)


def show_device(source: str, target: str) -> None:
    """A device of the machine, when it has it; bound where nodes cannot be made (user namespaces)."""
    try:
        there = os.stat(source)
    except OSError:
        return
    try:
        os.mknod(target, there.st_mode, there.st_rdev)
        os.chmod(target, there.st_mode & 0o777)
    except PermissionError:
        open(target, "w").close()
        mount(source, target, "none", MS_BIND)


def hold_mounts(mounts: list[tuple[str, str, bool]], hold: str) -> None:
    """Bind what is mounted below ``hold``, from where the machine's root is still seen."""
    for number, (_, source, _) in enumerate(mounts):
        target = f"{hold}/{number}"
        if os.path.isdir(source):
            os.makedirs(target)
        else:
            os.makedirs(hold, exist_ok=True)
            open(target, "w").close()
        mount(source, target, "none", MS_BIND | MS_REC)


def place_mounts(mounts: list[tuple[str, str, bool]]) -> None:
    """Move the mounts to their places, now that links resolve inside the program's own root; outer ones first."""
    for number, (path, _, read_only) in sorted(enumerate(mounts), key=lambda item: item[1][0].count("/")):
        held = f"/.podwire/{number}"
        if os.path.isdir(held):
            os.makedirs(path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not os.path.exists(path):
                open(path, "w").close()
        mount(held, path, "none", MS_MOVE)
        if read_only:
            make_read_only(path)
        (os.rmdir if os.path.isdir(held) else os.unlink)(held)
    if mounts:
        os.rmdir("/.podwire")


def make_read_only(path: str) -> None:
    """A mount and what is mounted below it; before Linux 5.12 itself alone."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    arguments = (SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), AT_RECURSIVE, attributes, len(attributes))
    if libc.syscall(*arguments) < 0:
        mount("", path, "none", MS_BIND | MS_REMOUNT | MS_RDONLY)


def show(point: str, target: str, room: str) -> None:
    """A mount of the machine inside the program's root: an overlay again, read-only where that cannot be."""
    try:
        if not os.path.isdir(point):
            raise NotADirectoryError(20, point)
        os.makedirs(f"{room}/upper")
        os.mkdir(f"{room}/work")
        mount("overlay", target, "overlay", 0, f"lowerdir={point},upperdir={room}/upper,workdir={room}/work")
    except OSError:
        mount(point, target, "none", MS_BIND)
        mount("", target, "none", MS_BIND | MS_REMOUNT | MS_RDONLY)


def place(path: str, mode: int, content: bytes) -> None:
    """Write one file, replacing a link (resolv.conf often is one) rather than following it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fchmod(descriptor, mode)
    os.close(descriptor)


def attach(streams: list[int], *, tty: bool) -> None:
    """Standard streams, and the controlling terminal."""
    for target, descriptor in enumerate(streams[:3]):
        os.dup2(descriptor, target)
    if tty:
        check(libc.ioctl(0, TIOCSCTTY, 0), "set the controlling terminal")


def confine(request: dict[str, Any]) -> None:
    """Give up capabilities, for this program and all it starts, and more rights by programs that would give them."""
    # utf-8 needs no module: in a root of its own the program has none of ours to load a codec from.
    with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as last:
        everything = range(int(last.read()) + 1)
    for number in everything if request["keep"] is not None else ():
        if number not in request["keep"]:
            check(libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), "drop a capability")
    if request["no_new_privileges"]:
        check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "give up more privileges")


def become_user(request: dict[str, Any]) -> None:
    """Take the user and groups asked for; names are those of the program's own root."""
    user, group, groups = request["user"], request["group"], request["groups"]
    if not user and not group and not groups:
        return
    row = find_row("/etc/passwd", user) if user else None
    if user and row is None and not user.isdigit():
        raise OSError(22, f"unable to find user {user}: no matching entries in passwd file")
    uid = int(row[2]) if row else int(user or 0)
    gid = int(row[3]) if row else 0
    if group:
        found = find_row("/etc/group", group)
        if found is None and not group.isdigit():
            raise OSError(22, f"unable to find group {group}: no matching entries in group file")
        gid = int(found[2]) if found else int(group)
    for stream in range(3):  # so that it may open /dev/stdout anew; /dev/null stays everybody's
        if not stat.S_ISCHR(os.fstat(stream).st_mode) or os.isatty(stream):
            os.fchown(stream, uid, gid)
    os.setgroups(sorted({gid, *groups}))
    os.setgid(gid)
    os.setuid(uid)
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")  # another user forgets it, prctl(2)
    if row and len(row) > 5 and request["env"].get("HOME") == "/root":
        request["env"]["HOME"] = row[5] or "/"


def find_row(table: str, key: str) -> list[str] | None:
    """The line of a name or an id in ``/etc/passwd`` or ``/etc/group``."""
    with suppress(OSError), open(table, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            row = line.rstrip("\n").split(":")
            if len(row) > 3 and key in (row[0], row[2]):
                return row
    return None


def execute(request: dict[str, Any]) -> None:
    """Replace this process by the program."""
    directory = request["cwd"] or "/"
    os.makedirs(directory, exist_ok=True)
    os.chdir(directory)
    argv, environment = request["argv"], request["env"]
    if not argv:
        raise OSError(22, "no command specified: neither the container nor its image has one")
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    confine(request)
    become_user(request)
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606
    except FileNotFoundError:
        where = "" if "/" in argv[0] else f" in PATH {environment.get('PATH', '')}"
        raise OSError(2, f'exec: "{argv[0]}": no such program{where}') from None
    except PermissionError:
        raise OSError(13, f'exec: "{argv[0]}": permission denied') from None


if __name__ == "__main__":
    Server(socket.socket(fileno=int(sys.argv[1])), sys.argv[2]).run()
