"""The DNS server of the ``kube-system/coredns`` pod: ``python -m podwire.planes.dns.worker --control PATH``.

Rules:

1. Imports the standard library and this folder only: it starts in milliseconds, in a pod, per replica.
2. One thread, one epoll. The UDP socket is drained up to :data:`BATCH` packets a turn, so upstreams, TCP and the
   control connection always get theirs, and own-zone answers never wait behind an upstream.
3. Upstreams are asked through sockets that the driver made in the host's namespace: a pod has no way out itself.
4. ``/health`` on 8080 answers as soon as the process runs, ``/ready`` on 8181 once a table is loaded, ``/metrics`` on
   9153 when the Corefile says so, as CoreDNS does.
5. SIGTERM: the server goes on for the lameduck time of the plugin health while a driver is there, then ends.
6. SIGHUP: the server starts again in the same process without losing a question. It stops reading, ends what is in
   flight, and executes itself with its sockets open; questions wait in the socket until the new table is there.
7. ``/ready`` says no while nobody keeps the zone current: another replica may know more.
8. SIGKILL: whoever keeps the listening sockets (``keeper.py``) gives them to the next worker; questions wait in them.
9. A driver that is silent or away for :data:`STALE_SECONDS` is noticed: answers of the zone carry EDE 3 from then on.
"""

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

from podwire.planes.dns.channels import Channels
from podwire.planes.dns.control import Control
from podwire.planes.dns.hold import Hold
from podwire.planes.dns.keeper import Kept, identity_of
from podwire.planes.dns.listeners import Listeners, Options
from podwire.planes.dns.loop import Loop, Stream, StreamServer, say
from podwire.planes.dns.machine import Responder
from podwire.planes.dns.metrics import format_samples
from podwire.planes.dns.report import collect
from podwire.planes.dns.serving import Serving, interface_addresses
from podwire.planes.dns.table import Table

HTTP_IDLE_SECONDS = 5.0
SWEEP_SECONDS = 0.5
LARGEST_REQUEST = 8192
STALE_SECONDS = 20.0
DRAIN_SECONDS = 1.0
PARENT_SECONDS = 1.0
GARBAGE = 10_000
"""Objects between two looks at the youngest garbage."""


class Worker:
    """All sockets of the server and what happens on them."""

    def __init__(self, options: Options) -> None:
        """Bind everything. Raises :class:`SystemExit` when a port is taken."""
        self.loop = Loop()
        self.restart = False
        token = os.urandom(8).hex().encode()
        self._responder = Responder(
            say=say,
            clock=time.monotonic,
            token=token,
            hostname=socket.gethostname(),
            addresses=interface_addresses,
        )
        self._kept = Kept(options.control, identity_of(options.number))
        kept = self._kept.fetch()
        if options.inherited:
            for fd in (fd for descriptors in kept.values() for fd in descriptors):
                os.close(fd)  # ours already
        options.inherited = options.inherited or kept
        self.listeners = Listeners(options)
        self._kept.keep(self.listeners.descriptors())
        status = {"health": lambda: (200, "OK"), "ready": self._readiness, "metrics": self._metrics}
        self._servers = tuple(
            StreamServer(self.loop, sock, self._http(f"/{name}", status[name]), seconds=HTTP_IDLE_SECONDS)
            for name, sock in self.listeners.http.items()
        )
        self._ending = 0.0
        self._parent = options.parent
        self._rested = 0
        self._joined = False
        gc.set_threshold(GARBAGE, 20, 20)
        self._hold = Hold(lambda value: self._control.send(value))
        self._control = Control(
            self.loop,
            options.control,
            on_table=self._load,
            on_sockets=self._adopt,
            on_release=lambda number: self._hold.release(number, time.monotonic()),
        )
        self._channels = Channels(
            self.loop,
            want_sockets=self._want_tcp,
            give_up_seconds=options.upstream_timeout,
            libraries=options.libraries,
        )
        self._serving = Serving(
            self.loop, self.listeners, self._responder, self._channels, hold=self._hold, libraries=options.libraries
        )
        if not options.inherited:
            self._serving.begin()
        say("INFO", f"podwire DNS: serving udp and tcp on {self.listeners.name}")

    def tick(self) -> float | None:
        """Do what is due; how long the loop may sleep."""
        now = time.monotonic()
        pauses = [self._control.ensure(now), self._channels.expire(now), self._hold.expire(now)]
        pauses.append(self._check_driver(now))
        if self._control.connected != self._joined:
            self._joined = self._control.connected
            if not self._joined:
                self._kept.lose()
        if self._joined:
            self._kept.ensure()
        if self._parent:
            pauses.append(PARENT_SECONDS)
            self.loop.running = self.loop.running and os.getppid() == self._parent
        for server in (*self._servers, *self._serving.servers):
            server.expire(now)
            if server.streams:
                pauses.append(SWEEP_SECONDS)
        if self._ending:
            pauses.append(0.05 if self.restart else max(0.0, self._ending - now))
            if now >= self._ending or (self.restart and not self._channels.in_flight):
                self.loop.running = False
        return min((p for p in pauses if p is not None), default=None)

    def stop(self) -> None:
        """End, after the lameduck time while somebody keeps the table current."""
        lameduck = self._responder.built.lameduck_seconds if self._control.connected else 0.0
        if lameduck and not self._ending:
            say("INFO", f"plugin/health: Going into lameduck mode for {lameduck:g}s")
        self._ending = self._ending or time.monotonic() + lameduck
        self.restart = False

    def end(self) -> None:
        """Nobody has to keep our sockets."""
        self._kept.end()

    def hand_over(self) -> None:
        """Stop reading, and end when nothing is in flight; the caller executes the program anew."""
        if not self._serving.serves or self._ending:
            return
        self.restart = True
        self._serving.pause()
        self._ending = time.monotonic() + DRAIN_SECONDS

    def _check_driver(self, now: float) -> float | None:
        """Notice a driver that is silent or away."""
        if self._responder.table is None:
            return None
        stale = now - self._control.heard > STALE_SECONDS
        if stale != self._responder.stale:
            self._responder.mark_stale(stale)
            say("WARNING", "nobody keeps the zone current; answers may be old") if stale else say(
                "INFO", "the zone is kept current again"
            )
        return STALE_SECONDS / 4

    def _load(self, table: Table) -> None:
        """A table to serve. Raises :class:`ValueError`, with everything as before."""
        changed = self._responder.load(table, self._serving.prepare)
        if changed:
            self._channels.set_pools(self._responder.built.pools)
        if changed or self._serving.rate != table.meta.client_rate:
            self._serving.settle()
            self._kept.keep(self.listeners.descriptors())
        self._hold.watch(table.meta.watched, table.meta.domain)
        self._serving.run_background()
        self._serving.begin()
        self._rest(table)

    def _rest(self, table: Table) -> None:
        """Let the garbage collector pass over a table: it holds no cycles, and looking through the objects of ten
        thousand Services takes longer than a client should wait."""
        names, _ = table.size
        if not self._rested or abs(names - self._rested) > self._rested / 4:
            gc.collect()
            gc.freeze()
            self._rested = names

    def _want_tcp(self) -> None:
        self._control.send({"want": "tcp"})

    def _adopt(self, sockets: list[socket.socket]) -> None:
        self._channels.adopt(sockets)

    def _readiness(self) -> tuple[int, str]:
        ready = self._responder.table is not None and not self._responder.stale
        return (200, "OK") if ready else (503, "kubernetes")

    def _metrics(self) -> tuple[int, str]:
        if "prometheus" not in self._responder.built.enabled:
            return 404, "the Corefile does not enable the plugin prometheus\n"
        return 200, format_samples(collect(self._responder, self._channels, self._control, time.monotonic()))

    def _http(self, path: str, status: Callable[[], tuple[int, str]]) -> Callable[[Stream], None]:
        def on_data(stream: Stream) -> None:
            if len(stream.received) > LARGEST_REQUEST:
                stream.close()
            elif b"\r\n\r\n" in stream.received:
                asked = bytes(stream.received).split(b" ")[1:2]
                stream.received.clear()
                stream.write(_http_reply(*(status() if asked == [path.encode()] else (404, "not found\n"))))
                stream.end()

        return on_data


_REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


def _http_reply(status: int, body: str) -> bytes:
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n{body}".encode()


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or SIGINT."""
    worker = Worker(Options(argv))
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def stop(number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            worker.hand_over()
        else:
            worker.stop()

    # epoll waits on after a handler returned (PEP 475), so a descriptor must become ready to end the wait
    # (docs/lab/2026-11-24-dns-worker.md).
    worker.loop.watch(wake_read, lambda _: _drain(wake_read))
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    worker.loop.run(worker.tick)
    if worker.restart:
        say("INFO", "podwire DNS: starting again with open sockets")
        inherited = worker.listeners.inherit()
        os.execv(sys.executable, [*_own_argv(), "--inherit", inherited])  # noqa: S606  (our own command line)
    worker.end()
    say("INFO", "podwire DNS: stopped")
    return 0


def _drain(fd: int) -> None:
    try:
        os.read(fd, 4096)
    except BlockingIOError:
        return


def _own_argv() -> list[str]:
    """The command line of this process, without an earlier hand-over."""
    words = list(sys.orig_argv)
    while "--inherit" in words:
        at = words.index("--inherit")
        del words[at : at + 2]
    return [sys.executable, *words[1:]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
