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
7. A driver that is silent or away for :data:`STALE_SECONDS` is noticed: answers of the zone carry EDE 3 from then on.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from podwire.planes.dns.channels import Channels
from podwire.planes.dns.control import Control
from podwire.planes.dns.hold import Hold
from podwire.planes.dns.listeners import Listeners, Options
from podwire.planes.dns.loop import Loop, Stream, StreamServer, say
from podwire.planes.dns.machine import Arrival, Forward, Responder
from podwire.planes.dns.metrics import format_samples
from podwire.planes.dns.report import collect
from podwire.planes.dns.table import Table
from podwire.planes.dns.upstream import Address

BATCH = 64
LARGEST_QUERY = 4096
TCP_IDLE_SECONDS = 10.0
HTTP_IDLE_SECONDS = 5.0
SWEEP_SECONDS = 0.5
LARGEST_REQUEST = 8192
STALE_SECONDS = 20.0
DRAIN_SECONDS = 1.0


class Worker:
    """All sockets of the server and what happens on them."""

    def __init__(self, options: Options) -> None:
        """Bind everything. Raises :class:`OSError` when a port is taken."""
        self.loop = Loop()
        self.restart = False
        token = os.urandom(8).hex().encode()
        self._responder = Responder(say=say, clock=time.monotonic, token=token, hostname=socket.gethostname())
        self.listeners = Listeners(options)
        self._udp = self.listeners.udp
        self._servers = tuple(
            StreamServer(self.loop, sock, self._http(path, status), seconds=HTTP_IDLE_SECONDS)
            for path, sock, status in (
                ("/health", self.listeners.health, lambda: (200, "OK")),
                ("/ready", self.listeners.ready, self._readiness),
                ("/metrics", self.listeners.metrics, self._metrics),
            )
        )
        self._tcp: StreamServer | None = None
        self._ending = 0.0
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
        )
        if not options.inherited:
            self._serve()
        say("INFO", f"podwire DNS: serving udp and tcp on {self.listeners.name}")

    def _serve(self) -> None:
        """Begin to read questions. After a hand-over they wait in the sockets until there is a table."""
        self.loop.watch(self._udp.fileno(), self._on_udp)
        self._tcp = StreamServer(self.loop, self.listeners.tcp, self._on_tcp, seconds=TCP_IDLE_SECONDS)

    def tick(self) -> float | None:
        """Do what is due; how long the loop may sleep."""
        now = time.monotonic()
        pauses = [self._control.ensure(now), self._channels.expire(now), self._hold.expire(now)]
        pauses.append(self._check_driver(now))
        for server in (*self._servers, self._tcp):
            if server is None:
                continue
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

    def hand_over(self) -> None:
        """Stop reading, and end when nothing is in flight; the caller executes the program anew."""
        if self._tcp is None or self._ending:
            return
        self.restart = True
        self.loop.forget(self._udp.fileno())
        self._tcp.pause()
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
        if self._responder.load(table):
            self._channels.set_pools(self._responder.built.pools)
        self._hold.watch(table.meta.watched, table.meta.domain)
        self._run_background()
        if self._tcp is None:
            self._serve()

    def _adopt(self, sockets: list[socket.socket]) -> None:
        self._channels.adopt(sockets)

    def _run_background(self) -> None:
        waiting, self._responder.background = self._responder.background, []
        for forward in waiting:
            self._channels.ask(forward, lambda _: None, tcp=False)

    def _readiness(self) -> tuple[int, str]:
        return (200, "OK") if self._responder.table is not None else (503, "kubernetes")

    def _metrics(self) -> tuple[int, str]:
        if "prometheus" not in self._responder.built.enabled:
            return 404, "the Corefile does not enable the plugin prometheus\n"
        return 200, format_samples(collect(self._responder, self._channels, self._control, time.monotonic()))

    def _on_udp(self, _events: int) -> None:
        """The inner loop: most replies are one look-up away (measured: ``docs/design/dns.md``)."""
        receive, send = self._udp.recvfrom, self._udp.sendto
        remembered, pick = self._responder.remembered, self._responder.pick
        reply: Any
        given = 0
        started = time.monotonic()
        for _ in range(BATCH):
            try:
                packet, peer = receive(LARGEST_QUERY)
            except OSError:
                break
            kept = remembered.get(packet[2:])
            if kept is None:
                reply = self._reply_udp(packet, peer)
            else:
                kept.hits += 1
                given += 1
                rest = kept.rest
                reply = packet[:2] + (rest if rest.__class__ is bytes else pick(rest))  # type: ignore[arg-type]
            if reply is None or not peer[1]:
                continue
            try:
                send(reply, peer)
            except OSError:
                continue
        if given:
            self._responder.metrics.batch(time.monotonic() - started, given)

    def _reply_udp(self, packet: bytes, peer: Address) -> bytes | None:
        reply = self._responder.reply(packet, Arrival(peer[0], peer[1], False, time.monotonic()))
        if self._responder.background:
            self._run_background()

        def send(message: bytes) -> None:
            try:
                self._udp.sendto(message, peer)
            except OSError as error:
                say("WARNING", f"cannot reply to {peer[0]}: {error}")

        if not isinstance(reply, Forward):
            return None if reply is not None and self._holds(reply, send) else reply

        def deliver(message: bytes | None) -> None:
            if message is not None and not self._holds(message, send):
                send(message)

        self._channels.ask(reply, deliver, tcp=False)
        return None

    def _holds(self, message: bytes, send: Callable[[bytes], None]) -> bool:
        """Whether the answer waits for the kernels (``hold.py``)."""
        hold = self._hold
        return hold.watching and hold.keep(message, lambda: send(message), time.monotonic())

    def _want_tcp(self) -> None:
        self._control.send({"want": "tcp"})

    def _on_tcp(self, stream: Stream) -> None:
        data = stream.received
        while len(data) >= 2 and len(data) >= 2 + (data[0] << 8 | data[1]):
            size = data[0] << 8 | data[1]
            packet = bytes(data[2 : 2 + size])
            del data[: 2 + size]
            arrival = Arrival(stream.peer[0], stream.peer[1], True, time.monotonic())
            reply = self._responder.reply(packet, arrival)
            if self._responder.background:
                self._run_background()
            if reply is None:
                stream.close()
                return
            stream.pending += 1
            deliver = self._tcp_deliver(stream)
            if isinstance(reply, bytes):
                deliver(reply)
            else:
                self._channels.ask(reply, deliver, tcp=True)

    def _tcp_deliver(self, stream: Stream) -> Callable[[bytes | None], None]:
        def send(message: bytes) -> None:
            stream.pending -= 1
            stream.write(len(message).to_bytes(2, "big") + message)

        def deliver(message: bytes | None) -> None:
            if message is None:
                stream.pending -= 1
                stream.close()
            elif not self._holds(message, send):
                send(message)

        return deliver

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
