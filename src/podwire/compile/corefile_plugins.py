"""Plugins of a Corefile, typed: everything but ``forward``, ``cache``, ``rewrite`` and ``template``.

Rules:

1. Options that the server honours are typed. Options without meaning here (sockets, credentials of the API) are noted
   in :attr:`Reading.ignored`. Everything else is an error that names what is allowed.

Source: coredns:plugin/*/README.md.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

import msgspec

from podwire.compile import corefile_words as words
from podwire.compile.corefile import Directive, Word
from podwire.compile.corefile_masterfile import MasterFileError, read_master_file
from podwire.kube.selectors import parse_label_selector
from podwire.plan import dnsconfig as d

LOG_CLASSES = ("all", "success", "denial", "error")
UNUSED_KUBERNETES = (
    "endpoint", "tls", "kubeconfig", "startup_timeout", "apiserver_qps", "apiserver_burst", "apiserver_max_inflight",
)  # fmt: skip


class Reading(msgspec.Struct):
    """What one reading knows (zones of the block, files, upstreams of the host) and notes (options without effect)."""

    zones: tuple[str, ...]
    resolv_conf: tuple[str, ...]
    files: Mapping[str, str]
    ignored: list[tuple[Directive, str]]
    serving: dict[str, Any] = {}
    """What ``bind``, ``tls`` and ``view`` say about the block itself: fields of :class:`d.ServerBlock`."""

    def text_of(self, word: Word) -> str:
        """The file that ``word`` names: one that is mounted there, or a key of the ConfigMap."""
        name = word.text
        text = self.files.get(name, self.files.get(name.rpartition("/")[2]))
        if text is None:
            allowed = "keys of the ConfigMap, files of volumes that Deployment coredns mounts"
            raise words.error_at(word, f"{name} is not there (allowed: {allowed})")
        return text

    def ignore(self, line: Directive, why: str) -> None:
        """Accepted, without effect."""
        self.ignored.append((line, why))


Maker = Callable[[Reading, Directive], d.Plugin | None]


def read_errors(_: Reading, line: Directive) -> d.Errors:
    """``errors { consolidate 5m "pattern" }``."""
    words.no_args(line)
    found = []
    for option in line.body:
        if option.name.text != "consolidate" or len(option.args) not in (2, 3):
            raise words.unknown_option("errors", option, ("consolidate DURATION PATTERN",))
        found.append((words.seconds(option.args[0]), pattern(option, 1)))
    return d.Errors(tuple(found))


def pattern(line: Directive, place: int) -> str:
    """A regular expression. Go's and Python's agree on what Corefiles use; what Python refuses is an error."""
    text = line.texts[place]
    try:
        re.compile(text)
    except re.error as error:
        raise words.error_at(line.args[place], f"{text!r} is no regular expression: {error}") from error
    return text


def read_log(_: Reading, line: Directive) -> d.Log:
    """``log [names...] [format] { class ... }``."""
    texts = list(line.texts)
    form = texts.pop() if texts and "{" in texts[-1] else ""
    names = words.zones(line.args[: len(texts)]) or ("",)
    classes: tuple[str, ...] = ("all",)
    for option in line.body:
        if option.name.text != "class" or not option.args or not set(option.texts) <= set(LOG_CLASSES):
            raise words.unknown_option("log", option, (f"class {'|'.join(LOG_CLASSES)}",))
        classes = option.texts
    shorthand = {"": "", "{common}": "", "{combined}": ""}
    return d.Log(names, shorthand.get(form, form), classes)


def read_health(reading: Reading, line: Directive) -> d.Health:
    """``health { lameduck 5s }``."""
    if line.args and line.texts[0] != ":8080":
        raise words.error_at(line.args[0], "health is served on :8080 only", fix="health")
    lameduck = 0.0
    for option in line.body:
        if option.name.text != "lameduck":
            raise words.unknown_option("health", option, ("lameduck DURATION",))
        words.one_arg(option, "duration")
        lameduck = words.seconds(option.args[0])
    return d.Health(lameduck)


def read_ready(reading: Reading, line: Directive) -> d.Ready:
    """``ready``."""
    if line.args and line.texts[0] != ":8181":
        raise words.error_at(line.args[0], "ready is served on :8181 only", fix="ready")
    for option in line.body:
        if option.name.text != "monitor" or option.texts not in (("until-ready",), ("continuously",)):
            raise words.unknown_option("ready", option, ("monitor until-ready|continuously",))
    return d.Ready()


def read_prometheus(_: Reading, line: Directive) -> d.Prometheus:
    """``prometheus [:9153]``."""
    if line.args and line.texts[0] not in (":9153", "0.0.0.0:9153"):
        raise words.error_at(line.args[0], "metrics are served on :9153 only", fix="prometheus :9153")
    words.no_body(line)
    return d.Prometheus()


def read_reload(_: Reading, line: Directive) -> None:
    """``reload [INTERVAL] [JITTER]``: changes are seen at once anyway."""
    for word in line.args:
        words.seconds(word)
    words.no_body(line)


def read_nsid(_: Reading, line: Directive) -> d.Nsid:
    """``nsid [data]``."""
    words.no_body(line)
    return d.Nsid(" ".join(line.texts) or "coredns")


def read_bufsize(_: Reading, line: Directive) -> d.Bufsize:
    """``bufsize [512-4096]``."""
    words.no_body(line)
    if not line.args:
        return d.Bufsize()
    words.one_arg(line, "size")
    return d.Bufsize(words.number(line.args[0], low=512, high=4096))


def read_chaos(_: Reading, line: Directive) -> d.Chaos:
    """``chaos [version] [authors...]``."""
    words.no_body(line)
    return d.Chaos(line.texts[0] if line.args else "CoreDNS (podwire)", line.texts[1:])


def read_loadbalance(reading: Reading, line: Directive) -> d.LoadBalance:
    """``loadbalance [round_robin | weighted FILE] { prefer CIDR..., reload DURATION }``."""
    weights: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    if line.texts[:1] == ("weighted",) and len(line.args) == 2:
        weights = _weights(reading, line)
    elif line.args and line.texts != ("round_robin",):
        allowed = "round_robin, weighted FILE"
        raise words.error_at(line.args[0], f"loadbalance {' '.join(line.texts)} (allowed: {allowed})")
    prefer: list[str] = []
    for option in line.body:
        if option.name.text == "prefer":
            prefer.extend(map(words.network, option.args))
        elif option.name.text == "reload":
            words.one_arg(option, "duration")  # changes are seen at once anyway
        else:
            raise words.unknown_option("loadbalance", option, ("prefer CIDR...", "reload"))
    return d.LoadBalance(tuple(prefer), weights)


def _weights(reading: Reading, line: Directive) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    """A name on a line of its own, then its addresses with weights from 1 to 255."""
    found: dict[str, list[tuple[str, int]]] = {}
    name = ""
    for number, row in enumerate(reading.text_of(line.args[1]).splitlines(), 1):
        parts = row.partition("#")[0].split()
        if len(parts) == 1:
            (name,) = words.zones([msgspec.structs.replace(line.args[1], text=parts[0])])
            found[name] = []
        elif len(parts) == 2 and name and _is_address(parts[0]) and parts[1].isdecimal() and 0 < int(parts[1]) < 256:
            found[name].append((str(ip_address(parts[0])), int(parts[1])))
        elif parts:
            message = f"{line.texts[1]}: line {number} is neither a name nor ADDRESS WEIGHT (1 to 255)"
            raise words.error_at(line.args[1], message)
    return tuple((name, tuple(pairs)) for name, pairs in found.items())


def read_kubernetes(reading: Reading, line: Directive) -> d.Kubernetes:
    """``kubernetes [zones...] { ... }``."""
    fields: dict[str, object] = {}
    for option in line.body:
        read = _KUBERNETES.get(option.name.text)
        if option.name.text in UNUSED_KUBERNETES:
            reading.ignore(option, "the server gets its objects from podwire, not from an API server of its own")
        elif read is None:
            raise words.unknown_option("kubernetes", option, (*_KUBERNETES, *UNUSED_KUBERNETES))
        else:
            fields.update(read(option))
    zones = words.zones(line.args) or reading.zones
    return msgspec.convert({"plugin": "kubernetes", "zones": zones, **fields}, d.Kubernetes)


def _pods(line: Directive) -> dict[str, object]:
    mode = words.one_arg(line, "mode")
    if mode not in ("disabled", "insecure", "verified"):
        raise words.error_at(line.args[0], f"pods {mode!r} (allowed: disabled, insecure, verified)")
    return {"pods": mode}


def _kubernetes_ttl(line: Directive) -> dict[str, object]:
    words.one_arg(line, "ttl")
    return {"ttl": words.number(line.args[0], high=3600)}


def _flag(line: Directive) -> dict[str, object]:
    words.no_args(line)
    return {line.name.text: True}


def _ignore(line: Directive) -> dict[str, object]:
    if line.texts != ("empty_service",):
        raise line.error("ignore takes empty_service", fix="ignore empty_service")
    return {"ignore_empty_service": True}


def _selector(line: Directive) -> dict[str, object]:
    text = " ".join(line.texts)
    try:
        parse_label_selector(text)
    except ValueError as error:
        raise line.error(f"{text!r} is no label selector: {error}", fix="app=web,tier in (a,b)") from error
    return {line.name.text: text}


_KUBERNETES: Mapping[str, Callable[[Directive], dict[str, object]]] = {
    "pods": _pods,
    "ttl": _kubernetes_ttl,
    "endpoint_pod_names": _flag,
    "noendpoints": _flag,
    "ignore": _ignore,
    "namespaces": lambda line: {"namespaces": line.texts},
    "namespace_labels": _selector,
    "labels": _selector,
    "zonal": _flag,
    "fallthrough": lambda line: {"fallthrough": words.fallthrough(line)},
}


def read_hosts(reading: Reading, line: Directive) -> d.Hosts:
    """``hosts [FILE [zones...]] { lines, ttl, no_reverse, reload, fallthrough }``."""
    entries: list[tuple[str, tuple[str, ...]]] = []
    zones = reading.zones
    if line.args:
        entries.extend(_hosts_file(reading, line))
        zones = words.zones(line.args[1:]) or zones
    fields: dict[str, object] = {}
    for option in line.body:
        match option.name.text:
            case "ttl":
                words.one_arg(option, "ttl")
                fields["ttl"] = words.number(option.args[0], low=1, high=65535)
            case "no_reverse":
                fields["reverse"] = False
            case "reload":
                words.one_arg(option, "duration")
            case "fallthrough":
                fields["fallthrough"] = words.fallthrough(option)
            case text if _is_address(text):
                entries.append((text, words.zones(option.args)))
            case _:
                raise words.unknown_option("hosts", option, ("ADDRESS NAME...", "ttl", "no_reverse", "fallthrough"))
    return msgspec.convert({"plugin": "hosts", "zones": zones, "entries": entries, **fields}, d.Hosts)


def _hosts_file(reading: Reading, line: Directive) -> list[tuple[str, tuple[str, ...]]]:
    text = reading.text_of(line.args[0])
    rows = (row.partition("#")[0].split() for row in text.splitlines())
    pairs = ((r[0], [msgspec.structs.replace(line.name, text=t) for t in r[1:]]) for r in rows if len(r) > 1)
    return [(address, words.zones(names)) for address, names in pairs if _is_address(address)]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def read_acl(reading: Reading, line: Directive) -> d.Acl:
    """``acl [zones...] { ACTION [type T...] [net CIDR...] }``."""
    rules = []
    for option in line.body:
        action = option.name.text
        if action not in ("allow", "block", "filter", "drop"):
            raise words.unknown_option("acl", option, ("allow", "block", "filter", "drop"))
        rules.append(_acl_rule(option))
    return d.Acl(words.zones(line.args) or reading.zones, tuple(rules))


def _acl_rule(line: Directive) -> d.AclRule:
    found: dict[str, list[str]] = {"type": [], "net": []}
    current: list[str] | None = None
    for word in line.args:
        if word.text in found:
            current = found[word.text]
        elif current is None:
            raise words.error_at(word, f"{word.text!r} (allowed: type TYPE..., net CIDR...)")
        elif current is found["type"]:
            current.append("*" if word.text == "*" else words.record_type(word))
        elif word.text == "*":
            current.extend(("0.0.0.0/0", "::/0"))
        else:
            current.append(words.network(word))
    types = () if "*" in found["type"] or "ANY" in found["type"] else tuple(found["type"])
    return msgspec.convert({"action": line.name.text, "types": types, "nets": found["net"]}, d.AclRule)


def read_dns64(_: Reading, line: Directive) -> d.Dns64:
    """``dns64 [PREFIX] { prefix P, translate_all, allow_ipv4 }``."""
    fields: dict[str, object] = {}
    candidates = list(line.args)
    for option in line.body:
        if option.name.text == "prefix":
            words.one_arg(option, "prefix")
            candidates.extend(option.args)
        elif option.name.text in ("translate_all", "allow_ipv4"):
            fields |= _flag(option)
        else:
            raise words.unknown_option("dns64", option, ("prefix", "translate_all", "allow_ipv4"))
    for word in candidates:
        fields["prefix"] = text = words.network(word)
        if ":" not in text or int(text.rpartition("/")[2]) not in (32, 40, 48, 56, 64, 96):
            raise words.error_at(word, f"{word.text!r} is no prefix (allowed: IPv6 /32 /40 /48 /56 /64 /96)")
    return msgspec.convert({"plugin": "dns64", **fields}, d.Dns64)


def read_file(reading: Reading, line: Directive) -> d.File:
    """``file DBFILE [zones...] { fallthrough }``; the file is a key of the ConfigMap."""
    if not line.args:
        raise line.error("file takes a name", fix="file example.org.db")
    name, text = line.texts[0], reading.text_of(line.args[0])
    zones = words.zones(line.args[1:]) or reading.zones
    through: tuple[str, ...] | None = None
    for option in line.body:
        if option.name.text == "reload":
            words.one_arg(option, "duration")  # changes are seen at once anyway
        elif option.name.text == "fallthrough":
            through = words.fallthrough(option)
        else:
            raise words.unknown_option("file", option, ("fallthrough", "reload"))
    if len(zones) != 1:
        raise line.error(f"file serves one zone, got {len(zones)}", fix=f"file {name} example.org")
    try:
        records = read_master_file(text, zones[0])
    except MasterFileError as error:
        raise words.error_at(line.args[0], f"{name}: {error}") from error
    return d.File(zones, records, through)


def simple(kind: type[d.Plugin]) -> Maker:
    """A plugin without arguments and options."""

    def read(_: Reading, line: Directive) -> d.Plugin:
        words.no_args(line)
        words.no_body(line)
        return kind()  # type: ignore[call-arg]

    return read


def in_zones(reading: Reading, line: Directive, count: int) -> tuple[str, ...]:
    """Zones given from argument ``count`` on, else those of the block."""
    return words.zones(line.args[count:]) or reading.zones
