"""The worker's command line and its listening sockets, bound here or taken over from the process before."""

import os
import socket

from podwire.planes.dns.loop import say
from podwire.planes.dns.upstream import Address

RECEIVE_BUFFER = 4 << 20


class Options:
    """The command line. Addresses are ``HOST:PORT``; port 0 picks one and the log names it. ``inherited`` are the
    descriptors of a hand-over: UDP, TCP, health, ready, metrics."""

    def __init__(self, argv: list[str]) -> None:
        """Raises :class:`SystemExit` on unknown words."""
        known = {
            "--control": "",
            "--listen": "0.0.0.0:53",
            "--health": "0.0.0.0:8080",
            "--ready": "0.0.0.0:8181",
            "--metrics": "0.0.0.0:9153",
            "--upstream-timeout": "2.0",
            "--inherit": "",
        }
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
        self.metrics = _address(known["--metrics"])
        self.upstream_timeout = float(known["--upstream-timeout"])
        self.inherited = tuple(int(fd) for fd in known["--inherit"].split(",") if fd)


class Listeners:
    """Five sockets."""

    def __init__(self, options: Options) -> None:
        """Bind, or take over. Raises :class:`SystemExit` when a port is taken."""
        if options.inherited:
            sockets = [socket.socket(fileno=fd) for fd in options.inherited]
            for sock in sockets:
                sock.setblocking(False)
                os.set_inheritable(sock.fileno(), False)
            self.udp, self.tcp, self.health, self.ready, self.metrics = sockets
        else:
            self.udp, self.tcp = _bind_dns(options.listen)
            self.health = _listen("health", options.health)
            self.ready = _listen("ready", options.ready)
            self.metrics = _listen("metrics", options.metrics)
        self.name = _text(self.udp)

    def inherit(self) -> str:
        """Let the next program have the sockets; the value of its ``--inherit``."""
        descriptors = [s.fileno() for s in (self.udp, self.tcp, self.health, self.ready, self.metrics)]
        for fd in descriptors:
            os.set_inheritable(fd, True)
        return ",".join(map(str, descriptors))


def _listen(name: str, address: Address) -> socket.socket:
    sock = _bind(socket.SOCK_STREAM, address)
    sock.listen(64)
    say("INFO", f"podwire DNS: /{name} on {_text(sock)}")
    return sock


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
