"""TLS for the worker's streams, over buffers in memory: the loop stays the only one who reads and writes sockets.

Imported when a configuration needs it only: ``ssl`` costs 15 ms and 5 MB. TLS 1.2 is the least, as in CoreDNS.
"""

import os
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from podwire.planes.dns.loop import CHUNK, Loop, Stream

_AUTH = {"require": ssl.CERT_REQUIRED, "require_and_verify": ssl.CERT_REQUIRED, "verify_if_given": ssl.CERT_OPTIONAL}
DOT, HTTP = ("dot",), ("h2", "http/1.1")
"""Protocols of ALPN (RFC 7858 section 3.1 knows none but ``dot`` is registered for it; RFC 8484 section 5.2)."""


class TlsStream(Stream):
    """A stream whose bytes on the wire are TLS. ``write`` and ``received`` are plain."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_data: Callable[[Stream], None],
        *,
        seconds: float,
        context: ssl.SSLContext,
        server_name: str | None = None,
    ) -> None:
        """``server_name`` None: we are the server. Otherwise the peer's certificate must have this name or address."""
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = server_name is None
        self._tls = context.wrap_bio(self._in, self._out, server_side=server, server_hostname=server_name)
        self.shaken = False
        self._plain = bytearray()
        self.error = ""
        self.on_shaken: Callable[[TlsStream], None] | None = None
        super().__init__(loop, sock, on_data, seconds=seconds)

    @property
    def protocol(self) -> str | None:
        """What ALPN agreed on, once hands are shaken."""
        return self._tls.selected_alpn_protocol()

    def begin(self) -> None:
        """Send the client's hello."""
        self._pump()

    def write(self, data: bytes) -> None:
        """Encrypt and send; before the handshake is done the data wait."""
        if self.closed:
            return
        self._plain += data
        if self.shaken:
            self._pump()

    def _take(self, data: bytes) -> None:
        self._in.write(data)
        self._pump()

    def _pump(self) -> None:
        """Move everything that can move; a peer that does not keep the protocol is cut off after its alert is sent."""
        found = bytearray()
        try:
            if not self.shaken:
                self._tls.do_handshake()
                self.shaken = True
                if self.on_shaken is not None:
                    self.on_shaken(self)
            if self._plain:
                self._tls.write(self._plain)
                self._plain.clear()
            while part := self._tls.read(CHUNK):
                found += part
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = str(error.reason or error)
            self.ended = True
        sealed = self._out.read()
        if sealed:
            super().write(sealed)
        if found and not self.closed:
            self.received += found
            self._on_data(self)
        if self.ended and not self.closed:
            self._flush()


def server_context(options: Mapping[str, Any], protocols: tuple[str, ...]) -> ssl.SSLContext:
    """For ``podwire.plan.dnsconfig.Tls``. Raises :class:`ValueError` when certificate and key do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    _load_pair(context, options)
    context.verify_mode = _AUTH.get(options["client_auth"], ssl.CERT_NONE)
    if context.verify_mode != ssl.CERT_NONE:
        _load_authority(context, options["authority"])
    return context


def client_context(options: Mapping[str, Any] | None, protocols: tuple[str, ...]) -> ssl.SSLContext:
    """For asking upstreams: their names are always checked. Raises :class:`ValueError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    _load_authority(context, options["authority"] if options else "")
    if options and options["certificate"]:
        _load_pair(context, options)
    return context


def make_server(options: Mapping[str, Any], protocols: tuple[str, ...]) -> Callable[..., Stream]:
    """What makes a server's streams (:class:`podwire.planes.dns.loop.StreamServer`)."""
    return partial(TlsStream, context=server_context(options, protocols))


def _load_authority(context: ssl.SSLContext, authority: str) -> None:
    try:
        if authority:
            context.load_verify_locations(cadata=authority)
        else:
            context.load_default_certs()
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"the authorities' certificates cannot be read: {error}") from error


def _load_pair(context: ssl.SSLContext, options: Mapping[str, Any]) -> None:
    """The standard library reads key pairs from files only: this one is in memory and has no name."""
    descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, f"{options['certificate']}\n{options['key']}".encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except (ssl.SSLError, OSError) as error:
        raise ValueError(f"certificate and key cannot be used: {error}") from error
    finally:
        os.close(descriptor)
