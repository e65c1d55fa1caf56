"""The worker's command line and its listening sockets, bound here or taken over from the process before.

Rules:

1. ``--listen`` are the addresses of the port that the Corefile calls 53. Other ports and schemes of the Corefile are
   opened on the same hosts when a configuration asks for them, and closed when none does any more.
2. ``--share`` lets several workers have the same port, ``--anywhere`` says that this host has several addresses,
   ``--parent`` that the worker ends when whoever started it does.
3. Both families: a pod has addresses of one or of two. IPv6 sockets take IPv6 only; where the kernel has no IPv6, or
   this host has no such address, a wildcard of it is left out silently.
4. All sockets outlive a hand-over: the next program finds them by the name of their port.
"""

import json
import os
import socket
from collections.abc import Iterable

from podwire.planes.dns.chain import PLAIN, Place
from podwire.planes.dns.loop import say
from podwire.planes.dns.upstream import Address

RECEIVE_BUFFER = 4 << 20
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  (a pod listens on all of its addresses)
HTTP_NAMES = ("health", "ready", "metrics")


class Options:
    """The command line. Addresses are ``HOST:PORT`` or ``[V6]:PORT``, several with commas; port 0 picks one and the log
    names it. ``inherited`` are the descriptors of a hand-over by name of the port."""

    def __init__(self, argv: list[str]) -> None:
        """Raises :class:`SystemExit` on unknown words."""
        known = {
            "--control": "",
            "--listen": "0.0.0.0:53,[::]:53",
            "--health": "[::]:8080",
            "--ready": "[::]:8181",
            "--metrics": "[::]:9153",
            "--upstream-timeout": "2.0",
            "--inherit": "{}",
            "--libraries": "",
            "--share": "",
            "--anywhere": "",
            "--number": "0",
            "--parent": "",
        }
        for name, value in zip(argv[::2], argv[1::2], strict=False):
            if name not in known:
                raise SystemExit(f"unknown option {name}")
            known[name] = value
        if len(argv) % 2 or not known["--control"]:
            raise SystemExit("usage: worker --control PATH [--listen ADDRESS:PORT,...] [--health …] [--ready …]")
        self.control = known["--control"]
        self.listen = tuple(map(_address, known["--listen"].split(",")))
        self.http = {name: known[f"--{name}"] for name in HTTP_NAMES}
        self.upstream_timeout = float(known["--upstream-timeout"])
        self.inherited: dict[str, list[int]] = json.loads(known["--inherit"])
        self.libraries = known["--libraries"]
        self.share = bool(known["--share"])
        self.anywhere = bool(known["--anywhere"])
        self.number = known["--number"]
        self.parent = os.getppid() if known["--parent"] else 0


class Port:
    """The sockets of one scheme and port."""

    def __init__(self, place: Place, udp: Iterable[socket.socket], tcp: Iterable[socket.socket]) -> None:
        """Take ownership."""
        self.place = place
        self.udp = tuple(udp)
        self.tcp = tuple(tcp)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """All of them."""
        return (*self.udp, *self.tcp)

    def close(self) -> None:
        """Listen no more."""
        for sock in self.sockets:
            sock.close()


class Listeners:
    """Every port, and the three of HTTP ('' among the options: not served)."""

    def __init__(self, options: Options) -> None:
        """Bind, or take over. Raises :class:`SystemExit` when a port is taken."""
        self._inherited = {name: _adopt(fds) for name, fds in options.inherited.items()}
        self._share = options.share
        self.anywhere = options.anywhere
        self.hosts = tuple(dict.fromkeys(host for host, _ in options.listen))
        self.ports: dict[Place, Port] = {}
        try:
            self.plain = self._take(PLAIN) or self._bind_plain(options.listen)
            self.http = {name: self._http(name, text) for name, text in options.http.items() if text}
        except OSError as error:
            raise SystemExit(str(error)) from error
        self.ports[PLAIN] = self.plain
        self.name = ", ".join(map(_text, self.plain.udp))

    def _bind_plain(self, addresses: tuple[Address, ...]) -> Port:
        pairs = [pair for address in addresses if (pair := self._bind_dns(address)) is not None]
        if not pairs:
            raise OSError(f"no address to listen on: {', '.join(host for host, _ in addresses)}")
        return Port(PLAIN, (udp for udp, _ in pairs), (tcp for _, tcp in pairs))

    def _bind_dns(self, address: Address) -> tuple[socket.socket, socket.socket] | None:
        """A UDP socket and a TCP listener on the same port."""
        while True:
            udp = _bind(socket.SOCK_DGRAM, address, share=self._share)
            if udp is None:
                return None
            try:
                tcp = _bind(socket.SOCK_STREAM, (address[0], udp.getsockname()[1]), share=self._share)
            except OSError:
                udp.close()
                if address[1]:
                    raise
                continue  # the port that the kernel picked for UDP is taken for TCP: pick again
            assert tcp is not None, "UDP of this family could be bound"
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            tcp.listen(128)
            return udp, tcp

    def open(self, place: Place) -> Port:
        """The sockets of a port, opened when they are not yet. Raises :class:`OSError` when it is taken."""
        if place not in self.ports:
            self.ports[place] = self._take(place) or self._open(place)
        return self.ports[place]

    def _open(self, place: Place) -> Port:
        scheme, number = place
        if scheme == "dns":
            pairs = [p for host in self.hosts if (p := self._bind_dns((host, number))) is not None]
            return Port(place, (udp for udp, _ in pairs), (tcp for _, tcp in pairs))
        found = [_bind(socket.SOCK_STREAM, (host, number), share=self._share) for host in self.hosts]
        listening = [sock for sock in found if sock is not None]
        for sock in listening:
            sock.listen(128)
        return Port(place, (), listening)

    def keep_only(self, places: Iterable[Place]) -> list[Port]:
        """Forget the ports that are not among ``places``, the plain one excepted; they are the caller's to close."""
        gone = [place for place in self.ports if place not in set(places) | {PLAIN}]
        return [self.ports.pop(place) for place in gone]

    def _http(self, name: str, text: str) -> socket.socket:
        taken = self._inherited.pop(name, [])
        host, port = _address(text)
        sock = taken[0] if taken else _bind(socket.SOCK_STREAM, (host, port), both=True)
        if sock is None:
            sock = _bind(socket.SOCK_STREAM, (WILDCARDS[0], port))
            assert sock is not None, "IPv4 is there"
        if not taken:
            sock.listen(64)
        say("INFO", f"podwire DNS: /{name} on {_text(sock)}")
        return sock

    def _take(self, place: Place) -> Port | None:
        sockets = self._inherited.pop(_name(place), [])
        if not sockets:
            return None
        streams = [s for s in sockets if s.type == socket.SOCK_STREAM]
        return Port(place, (s for s in sockets if s.type == socket.SOCK_DGRAM), streams)

    def descriptors(self) -> dict[str, list[int]]:
        """Those of every socket, by name of its port."""
        found = {_name(place): [s.fileno() for s in port.sockets] for place, port in self.ports.items()}
        return found | {name: [sock.fileno()] for name, sock in self.http.items()}

    def inherit(self) -> str:
        """Let the next program have the sockets; the value of its ``--inherit``."""
        found = self.descriptors()
        for fd in (fd for descriptors in found.values() for fd in descriptors):
            os.set_inheritable(fd, True)
        return json.dumps(found)


def _name(place: Place) -> str:
    return f"{place[0]}:{place[1]}"


def _adopt(descriptors: list[int]) -> list[socket.socket]:
    sockets = [socket.socket(fileno=fd) for fd in descriptors]
    for sock in sockets:
        sock.setblocking(False)
        os.set_inheritable(sock.fileno(), False)
    return sockets


def _bind(
    kind: socket.SocketKind, address: Address, *, share: bool = False, both: bool = False
) -> socket.socket | None:
    """A bound socket; None for a wildcard of IPv6 where there is none. Raises :class:`OSError`."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    except OSError:
        if address[0] == WILDCARDS[1]:
            return None
        raise
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if address[0] == WILDCARDS[1] and error.errno == 99:  # EADDRNOTAVAIL: IPv6 is switched off
            return None
        raise OSError(f"cannot listen on {address[0]}:{address[1]}: {error}") from error
    return sock


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _text(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
