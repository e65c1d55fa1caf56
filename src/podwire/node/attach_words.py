"""What the CNI plugin and a running podwire say to each other: one request, one answer, over a Unix socket.

Rules:

1. A request is one JSON object; with it travels the descriptor of the container's network namespace, opened by whoever
   the container runtime started, so that paths never have to mean the same to both.
2. An attachment is known by network, container and interface. Errors have the numbers of the CNI specification.
3. Sizes are bounded; what is longer is refused before it is parsed.

Source: containernetworking/cni SPEC.md 1.1.0 sections 2 and 5.
"""

from typing import Literal

import msgspec

REQUEST_BYTES = 256 * 1024
SOCKET_NAME, STORE_NAME, LOCK_NAME = "cni.sock", "attachments.json", "attachments.lock"
WIRES_NAME = "wires.json"

BAD_VERSION, UNSUPPORTED_FIELD, UNKNOWN_CONTAINER, BAD_ENVIRONMENT = 1, 2, 3, 4
IO_FAILURE, NOT_DECODED, BAD_CONFIG, TRY_AGAIN = 5, 6, 7, 11
UNAVAILABLE, LIMITED = 50, 51
BROKEN = 100
"""A CHECK that finds something missing; numbers from 100 are the plugin's own."""


class Key(msgspec.Struct, frozen=True, order=True):
    """Which attachment."""

    network: str
    container: str
    interface: str


class PortMapping(msgspec.Struct, frozen=True, order=True, rename="camel"):
    """A port of the node that leads to a port of the container (the capability ``portMappings``)."""

    host_port: int
    container_port: int
    protocol: str = "tcp"
    host_ip: str = msgspec.field(name="hostIP", default="")


class Attachment(msgspec.Struct, frozen=True):
    """One container of another runtime on a node's network; what is kept on disk."""

    key: Key
    node: str
    namespace: str
    pod: str
    addresses: tuple[str, ...]
    link: str
    mac: str
    ports: tuple[PortMapping, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """``namespace/name`` of its pod."""
        return f"{self.namespace}/{self.pod}"


class Request(msgspec.Struct, frozen=True):
    """One command. ``add`` and ``check`` come with a descriptor; ``keep`` are the attachments ``gc`` leaves alone."""

    command: Literal["add", "del", "check", "gc", "status"]
    key: Key
    node: str = ""
    namespace: str = ""
    pod: str = ""
    address: str = ""
    ports: tuple[PortMapping, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    keep: tuple[Key, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """``code`` 0: done, and for ``add`` what was made. Else why not."""

    code: int = 0
    message: str = ""
    details: str = ""
    attachment: Attachment | None = None
    gateways: tuple[str, ...] = ()
    link_mac: str = ""
    mtu: int = 0
    resolv_conf: str = ""


class Refused(Exception):
    """A command that cannot be carried out, as the specification words it."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        """``code`` is one of this module's."""
        super().__init__(message)
        self.answer = Answer(code, message, details)
