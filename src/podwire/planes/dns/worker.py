"""The DNS server of the ``kube-system/coredns`` pod: ``python -m podwire.planes.dns.worker --control PATH``.

Rules:

1. Imports the standard library and this folder only: it starts in milliseconds, in a pod, per replica.
2. One thread, one epoll. The UDP socket is drained up to :data:`BATCH` packets a turn, so upstreams, TCP and the
   control connection always get theirs, and own-zone answers never wait behind an upstream.
3. Upstreams are asked through sockets that the driver made in the host's namespace: a pod has no way out itself.
4. ``/health`` on 8080 answers as soon as the process runs, ``/ready`` on 8181 once a table is loaded, as CoreDNS does.
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
from podwire.planes.dns.loop import Loop, Stream, StreamServer, say
from podwire.planes.dns.machine import Responder
from podwire.planes.dns.table import Table
from podwire.planes.dns.upstream import Address

BATCH = 64
LARGEST_QUERY = 4096
TCP_IDLE_SECONDS = 10.0
HTTP_IDLE_SECONDS = 5.0
SWEEP_SECONDS = 0.5
RECEIVE_BUFFER = 4 << 20
LARGEST_REQUEST = 8192


class Options:
    """The command line. Addresses are ``HOST:PORT``; port 0 picks one and the log names it."""

    def __init__(self, argv: list[str]) -> None:
        """Raises :class:`SystemExit` on unknown words."""
        known = {"--control": "", "--listen": "0.0.0.0:53", "--health": "0.0.0.0:8080", "--ready": "0.0.0.0:8181"}
        known["--upstream-timeout"] = "2.0"
        for name, value in zip(argv[::2], argv[1::2], strict=False):
            if name not in known:
                raise SystemExit(f"unknown option {name}")
            known[name] = value
        if len(argv) % 2 or not known["--control"]:
            raise SystemExit("usage: worker --control PATH [--listen ADDRESS:PORT] [--health …] [--ready …]")
        self.control = known["--control"]
        self.listen = _address(known["--listen"])
        self.health = _address(known["--health"])
        self.ready = _address(known["--ready"])
        self.upstream_timeout = float(known["--upstream-timeout"])


class Worker:
    """All sockets of the server and what happens on them."""

    def __init__(self, options: Options) -> None:
        """Bind everything. Raises :class:`OSError` when a port is taken."""
        self.loop = Loop()
        self._responder = Responder()
        self._udp, listener = _bind_dns(options.listen)
        self._servers = (
            StreamServer(self.loop, listener, self._on_tcp, seconds=TCP_IDLE_SECONDS),
            self._serve_http("health", options.health, lambda: True),
            self._serve_http("ready", options.ready, lambda: self._responder.table is not None),
        )
        self._control = Control(self.loop, options.control, on_table=self._load, on_sockets=self._adopt)
        self._channels = Channels(
            self.loop,
            want_sockets=lambda: self._control.send({"want": "tcp"}),
            give_up_seconds=options.upstream_timeout,
        )
        self.loop.watch(self._udp.fileno(), self._on_udp)
        say("INFO", f"podwire DNS: serving udp and tcp on {_text(self._udp)}")

    def tick(self) -> float | None:
        """Do what is due; how long the loop may sleep."""
        now = time.monotonic()
        pauses = [self._control.ensure(now), self._channels.expire(now)]
        for server in self._servers:
            server.expire(now)
            if server.streams:
                pauses.append(SWEEP_SECONDS)
        return min((p for p in pauses if p is not None), default=None)

    def _load(self, table: Table) -> None:
        self._responder.load(table)
        self._channels.set_upstreams(table.meta.upstreams)

    def _adopt(self, sockets: list[socket.socket]) -> None:
        self._channels.adopt(sockets)

    def _on_udp(self, _events: int) -> None:
        """The inner loop: most replies are one look-up away (measured: ``docs/design/dns.md``)."""
        receive, send = self._udp.recvfrom, self._udp.sendto
        remembered, pick = self._responder.remembered, self._responder.pick
        reply: Any
        for _ in range(BATCH):
            try:
                packet, peer = receive(LARGEST_QUERY)
            except OSError:
                return
            rest = remembered.get(packet[2:])
            if rest is None:
                reply = self._reply_udp(packet, peer)
            else:
                reply = packet[:2] + (rest if rest.__class__ is bytes else pick(rest))  # type: ignore[arg-type]
            if reply is None or not peer[1]:
                continue
            try:
                send(reply, peer)
            except OSError:
                continue

    def _reply_udp(self, packet: bytes, peer: Address) -> bytes | None:
        reply = self._responder.reply(packet)
        if reply is None or isinstance(reply, bytes):
            return reply

        def deliver(message: bytes) -> None:
            try:
                self._udp.sendto(message, peer)
            except OSError as error:
                say("WARNING", f"cannot reply to {peer[0]}: {error}")

        self._channels.ask(reply, deliver, tcp=False)
        return None

    def _on_tcp(self, stream: Stream) -> None:
        data = stream.received
        while len(data) >= 2 and len(data) >= 2 + (data[0] << 8 | data[1]):
            size = data[0] << 8 | data[1]
            packet = bytes(data[2 : 2 + size])
            del data[: 2 + size]
            reply = self._responder.reply(packet, tcp=True)
            if reply is None:
                stream.close()
                return
            if isinstance(reply, bytes):
                stream.write(len(reply).to_bytes(2, "big") + reply)
                continue
            stream.pending += 1
            self._channels.ask(reply, _tcp_deliver(stream), tcp=True)

    def _serve_http(self, name: str, address: Address, is_ready: Callable[[], bool]) -> StreamServer:
        def on_data(stream: Stream) -> None:
            if len(stream.received) > LARGEST_REQUEST:
                stream.close()
            elif b"\r\n\r\n" in stream.received:
                path = bytes(stream.received).split(b" ")[1:2]
                stream.received.clear()
                stream.write(_http_reply(path == [f"/{name}".encode()], is_ready()))
                stream.end()

        listener = _bind(socket.SOCK_STREAM, address)
        listener.listen(64)
        say("INFO", f"podwire DNS: /{name} on {_text(listener)}")
        return StreamServer(self.loop, listener, on_data, seconds=HTTP_IDLE_SECONDS)


def _tcp_deliver(stream: Stream) -> Callable[[bytes], None]:
    def deliver(message: bytes) -> None:
        stream.pending -= 1
        stream.write(len(message).to_bytes(2, "big") + message)

    return deliver


def _http_reply(found: bool, ready: bool) -> bytes:
    status, body = ("404 Not Found", "not found\n") if not found else ("200 OK", "OK")
    if found and not ready:
        status, body = "503 Service Unavailable", "kubernetes"
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def _bind_dns(address: Address) -> tuple[socket.socket, socket.socket]:
    """A UDP socket and a TCP listener on the same port."""
    while True:
        udp = _bind(socket.SOCK_DGRAM, address)
        try:
            tcp = _bind(socket.SOCK_STREAM, (address[0], udp.getsockname()[1]))
        except SystemExit:
            udp.close()
            if address[1]:
                raise
            continue  # the port that the kernel picked for UDP is taken for TCP: pick again
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        tcp.listen(128)
        return udp, tcp


def _bind(kind: socket.SocketKind, address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    if kind == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise SystemExit(f"cannot listen on {address[0]}:{address[1]}: {error}") from error
    return sock


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _text(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"{host}:{port}"


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or SIGINT."""
    worker = Worker(Options(argv))
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def stop(_signal: int, _frame: object) -> None:
        worker.loop.running = False

    # epoll waits on after a handler returned (PEP 475), so a descriptor must become ready to end the wait
    # (docs/lab/2026-11-24-dns-worker.md).
    worker.loop.watch(wake_read, lambda _: None)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker.loop.run(worker.tick)
    say("INFO", "podwire DNS: stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
