"""What a container runtime hands to the plugin: the network configuration and the environment, checked. Pure but for
:meth:`Environment.open_netns`.

Every refusal has the specification's number and names the field or variable (SPEC section 5, error codes).
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from podwire.base import Cidr
from podwire.cli.cni_result import SUPPORTED
from podwire.node.attach_words import (
    BAD_CONFIG,
    BAD_ENVIRONMENT,
    BAD_VERSION,
    NOT_DECODED,
    UNSUPPORTED_FIELD,
    Key,
    PortMapping,
    Refused,
)

Json = dict[str, Any]
FIELDS = frozenset({
    "cniVersion", "name", "type", "args", "capabilities", "runtimeConfig", "prevResult", "dns",
    "cluster", "home", "node",
})  # fmt: skip
VALID_ATTACHMENTS = "cni.dev/valid-attachments"
CAPABILITIES = frozenset({"portMappings", "ips", "dns"})
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_INTERFACE_BYTES = 15


class Dns(msgspec.Struct, frozen=True):
    """The ``dns`` of a configuration and of a result."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class RuntimeDns(msgspec.Struct, frozen=True):
    """The capability ``dns``, which spells it differently."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Valid(msgspec.Struct, frozen=True):
    """An attachment that GC is to leave alone."""

    container_id: str = msgspec.field(name="containerID")
    ifname: str


class Label(msgspec.Struct, frozen=True):
    """``args.cni.labels``."""

    key: str
    value: str = ""


class Config(msgspec.Struct, frozen=True):
    """A network configuration that this plugin can act on."""

    version: str
    name: str
    cluster: str = "podwire"
    node: str = ""
    dns: Dns | None = None
    ports: tuple[PortMapping, ...] = ()
    address: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    valid: tuple[Valid, ...] = ()
    previous: Json | None = None


class Environment(msgspec.Struct, frozen=True):
    """The CNI variables of one call."""

    container: str
    netns: str
    interface: str
    arguments: Mapping[str, str]

    @property
    def address(self) -> str:
        """The address that ``IP`` of CNI_ARGS asks for."""
        return self.arguments.get("IP", "").partition("/")[0]

    def key(self, config: Config, command: str) -> Key:
        """The attachment that is meant. Raises :class:`Refused` naming variables that are missing or wrong."""
        wrong = []
        if not _CONTAINER.fullmatch(self.container):
            wrong.append(f"CNI_CONTAINERID ({self.container!r})")
        if not _is_interface(self.interface):
            wrong.append(f"CNI_IFNAME ({self.interface!r})")
        if command in ("ADD", "CHECK") and not self.netns:
            wrong.append("CNI_NETNS")
        if wrong:
            raise Refused(BAD_ENVIRONMENT, f"missing or invalid: {', '.join(wrong)}")
        return Key(config.name, self.container, self.interface)

    def open_netns(self) -> int:
        """The container's namespace. Raises :class:`Refused`."""
        try:
            return os.open(self.netns, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(BAD_ENVIRONMENT, f"CNI_NETNS ({self.netns}): {error.strerror}") from error

    def find_netns(self) -> int | None:
        """The container's namespace, if it is there."""
        try:
            return self.open_netns()
        except Refused:
            return None


def _is_interface(name: str) -> bool:
    plain = name not in ("", ".", "..") and not set(name) & set("/: \t\n")
    return plain and len(name.encode()) <= _INTERFACE_BYTES


def parse_environment(environ: Mapping[str, str]) -> Environment:
    """The variables. Raises :class:`Refused` for CNI_ARGS that are no ``KEY=VALUE;...``."""
    arguments = {}
    for pair in filter(None, environ.get("CNI_ARGS", "").split(";")):
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise Refused(BAD_ENVIRONMENT, f"CNI_ARGS: {pair!r} is not KEY=VALUE")
        arguments[key] = value
    container, netns, interface = (environ.get(f"CNI_{name}", "") for name in ("CONTAINERID", "NETNS", "IFNAME"))
    return Environment(container, netns, interface, arguments)


def names_of(environment: Environment) -> tuple[str, str]:
    """Namespace and name of the pod. Raises :class:`Refused` for names no pod can have."""
    arguments = environment.arguments
    plain = re.sub(r"[^a-z0-9]+", "-", environment.container.lower()).strip("-")[:40].rstrip("-")
    namespace = arguments.get("K8S_POD_NAMESPACE") or "default"
    name = arguments.get("K8S_POD_NAME") or f"cni-{plain}"
    if not _LABEL.fullmatch(namespace) or not _NAME.fullmatch(name):
        raise Refused(BAD_ENVIRONMENT, f"CNI_ARGS: no pod is called {namespace}/{name}")
    return namespace, name


def parse_config(value: Json) -> Config:
    """The configuration. Raises :class:`Refused` for what cannot be acted on."""
    version = value.get("cniVersion")
    if version not in SUPPORTED:
        raise Refused(BAD_VERSION, f"cniVersion {version!r} is not supported", f"supported: {', '.join(SUPPORTED)}")
    _refuse_others({k: v for k, v in value.items() if not k.startswith("cni.dev/")}, FIELDS, "")
    try:
        return _convert(value, version)
    except msgspec.ValidationError as error:
        raise Refused(NOT_DECODED, "the network configuration does not parse", str(error)) from error


def _refuse_others(value: Json, known: frozenset[str], path: str) -> None:
    for field, item in value.items():
        if field not in known and item not in (None, "", [], {}, False):
            text = msgspec.json.encode(item).decode()
            raise Refused(UNSUPPORTED_FIELD, f"unsupported field {path}{field}: {text}")


def _convert(value: Json, version: str) -> Config:
    runtime = msgspec.convert(value.get("runtimeConfig") or {}, Json)
    for field, item in runtime.items():
        if field not in CAPABILITIES and item not in (None, "", [], {}):
            raise Refused(
                UNSUPPORTED_FIELD, f"unsupported field runtimeConfig.{field}: {msgspec.json.encode(item).decode()}"
            )
    args = msgspec.convert(msgspec.convert(value.get("args") or {}, Json).get("cni") or {}, Json)
    previous = value.get("prevResult")
    name = value.get("name")
    if not isinstance(name, str) or not _CONTAINER.fullmatch(name):
        raise Refused(BAD_CONFIG, f"name {name!r}: a network has a name of letters, digits, '.', '_' and '-'")
    _set_home(value.get("home"))
    return Config(
        version=version,
        name=name,
        cluster=msgspec.convert(value.get("cluster") or "podwire", str),
        node=msgspec.convert(value.get("node") or "", str),
        dns=_dns(value.get("dns"), runtime.get("dns")),
        ports=msgspec.convert(runtime.get("portMappings") or (), tuple[PortMapping, ...], strict=False),
        address=_address(runtime.get("ips") or args.get("ips") or ()),
        labels=tuple(sorted((label.key, label.value) for label in _labels(args))),
        valid=msgspec.convert(value.get(VALID_ATTACHMENTS) or (), tuple[Valid, ...]),
        previous=None if previous is None else msgspec.convert(previous, Json),
    )


def _labels(args: Json) -> tuple[Label, ...]:
    return msgspec.convert(args.get("labels") or (), tuple[Label, ...])


def _dns(configured: object, runtime: object) -> Dns | None:
    if runtime:
        told = msgspec.convert(runtime, RuntimeDns)
        return Dns(told.servers, "", told.searches, told.options)
    return msgspec.convert(configured, Dns) if configured else None


def _address(ips: object) -> str:
    """The IPv4 address that is asked for. Raises :class:`Refused` for several, or for what is none."""
    wanted = [text.partition("/")[0] for text in msgspec.convert(ips, tuple[str, ...])]
    if len(wanted) > 1:
        raise Refused(BAD_CONFIG, f"ips {', '.join(wanted)}: a pod has one address")
    for text in wanted:
        try:
            Cidr.parse(text)
        except ValueError as error:
            raise Refused(BAD_CONFIG, f"ips {text!r}: {error}") from error
    return wanted[0] if wanted else ""


def _set_home(home: object) -> None:
    """A runtime's environment does not have the administrator's; the configuration can say where clusters are."""
    if home:
        os.environ["PODWIRE_HOME"] = msgspec.convert(home, str)
