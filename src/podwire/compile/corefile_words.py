"""Words of a Corefile as values: zones, numbers, durations, networks, upstreams; each error says what is allowed.

Source: coredns:plugin/normalize.go, plugin/pkg/parse; Go's time.ParseDuration.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from podwire.compile.corefile import CorefileError, Directive, Word
from podwire.plan.dnsconfig import Scheme

PORTS = {"dns": 53, "tls": 853, "https": 443}
"""What can be served, and the usual ports."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_ZONE = re.compile(r"[a-z0-9_*-]{1,63}(\.[a-z0-9_*-]{1,63})*")


RECORD_TYPES = (
    "A", "NS", "CNAME", "SOA", "PTR", "HINFO", "MX", "TXT", "AAAA", "LOC", "SRV", "NAPTR", "DNAME", "DS", "SSHFP",
    "RRSIG", "NSEC", "DNSKEY", "NSEC3", "TLSA", "SVCB", "HTTPS", "SPF", "ANY", "URI", "CAA",
)  # fmt: skip
"""Types that rules may name; the server knows the same ones (a test compares them)."""


def record_type(word: Word) -> str:
    """The name of a record type."""
    if word.text.upper() not in RECORD_TYPES:
        raise error_at(word, f"{word.text!r} is no record type here (allowed: {', '.join(RECORD_TYPES)})")
    return word.text.upper()


def error_at(word: Word, message: str, *, fix: str = "") -> CorefileError:
    """An error about one word."""
    return CorefileError(message, line=word.line, file=word.file, fix=fix)


def one_arg(line: Directive, what: str) -> str:
    """The only argument."""
    if len(line.args) != 1:
        raise line.error(f"{line.name.text} takes one {what}, got {len(line.args)}", fix=f"{line.name.text} {what}")
    return line.texts[0]


def no_args(line: Directive) -> None:
    """The line must be its name only."""
    if line.args:
        raise line.error(f"{line.name.text} takes no argument, got {line.texts[0]!r}")


def no_body(line: Directive) -> None:
    """The line must not open a block."""
    if line.body:
        allowed = f"{line.name.text} has no options, got {line.body[0].name.text!r}"
        raise line.body[0].error(allowed)


def unknown_option(plugin: str, line: Directive, allowed: Iterable[str]) -> CorefileError:
    """An option that the plugin does not have."""
    return line.error(f"plugin {plugin} has no option {line.name.text!r} (allowed: {', '.join(sorted(allowed))})")


def number(word: Word, *, low: int = 0, high: int = 1 << 31) -> int:
    """A whole number in a range."""
    if not word.text.isdecimal() or not low <= int(word.text) <= high:
        raise error_at(word, f"{word.text!r} is not a number from {low} to {high}")
    return int(word.text)


def seconds(word: Word) -> float:
    """A Go duration; a bare number is seconds."""
    text = word.text
    if text.isdecimal():
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise error_at(word, f"{text!r} is not a duration", fix="5s, 500ms, 1m30s")
    return sum(float(amount) * _UNITS[unit] for amount, unit in parts)


def zones(words: Sequence[Word]) -> tuple[str, ...]:
    """Zones without scheme and port; a network becomes its reverse zones."""
    return tuple(dict.fromkeys(zone for word in words for zone in _zones(word, word.text)))


def _zones(word: Word, text: str) -> tuple[str, ...]:
    text = text.lower()
    if "/" in text:
        return _reverse_zones(word, text)
    name = text.rstrip(".")
    if text and (not name or (_ZONE.fullmatch(name) and len(name) <= 253)):
        return (name,)
    raise error_at(word, f"{word.text!r} is no zone", fix="example.org, 10.0.0.0/8 or .")


def _reverse_zones(word: Word, text: str) -> tuple[str, ...]:
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise error_at(word, f"{text!r} is no network: {error}", fix="10.0.0.0/8") from error
    bits = 8 if network.version == 4 else 4
    # A border inside a label takes all the zones of the next label (coredns:plugin/pkg/cidr).
    border = max(bits, -(-network.prefixlen // bits) * bits) if network.prefixlen else bits
    keep = border // bits
    found = []
    for part in network.subnets(new_prefix=border):
        pointer = part.network_address.reverse_pointer.split(".")
        found.append(".".join(pointer[len(pointer) - 2 - keep :]))
    return tuple(found)


def server_key(word: Word) -> tuple[Scheme, int, tuple[str, ...]]:
    """A key of a server block, ``[SCHEME://]zone[:PORT]``: scheme, port and zones."""
    scheme, _, rest = word.text.rpartition("://")
    if scheme not in ("", *PORTS):
        allowed = ", ".join(f"{name}://" for name in PORTS)
        raise error_at(word, f"{scheme}:// is not served here (allowed: {allowed})", fix=f"dns://{rest}")
    host, colon, port = rest.rpartition(":")
    if not colon or "/" in port:
        host, port = rest, str(PORTS[scheme or "dns"])
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise error_at(word, f"port {port!r} is not a number from 1 to 65535", fix=f"{host}:53")
    kind: Scheme = "tls" if scheme == "tls" else "https" if scheme == "https" else "dns"
    return kind, int(port), _zones(word, host or ".")


def address(word: Word) -> str:
    """An IP address."""
    try:
        return str(ip_address(word.text))
    except ValueError as error:
        raise error_at(word, f"{word.text!r} is no address", fix="10.0.0.1") from error


def network(word: Word) -> str:
    """A network or an address."""
    try:
        return str(ip_network(word.text, strict=False))
    except ValueError as error:
        raise error_at(word, f"{word.text!r} is no address or network", fix="10.0.0.0/8") from error


def upstreams(word: Word, resolv_conf: Sequence[str], files: dict[str, str]) -> tuple[str, ...]:
    """Whom ``forward`` asks: ``[SCHEME://]ADDRESS[%SERVERNAME][:PORT][/PATH]``, or the name servers of a file."""
    scheme, _, text = word.text.rpartition("://")
    if scheme not in ("", *PORTS):
        allowed = ", ".join(f"{name}://" for name in PORTS)
        raise error_at(word, f"{scheme}:// is not spoken to upstreams here (allowed: {allowed})", fix=f"dns://{text}")
    if text.startswith("/"):
        return _from_file(word, text, resolv_conf, files)
    usual = str(PORTS[scheme or "dns"])
    place, slash, path = text.partition("/")
    place, name = _split_server_name(place)
    host, port = _split_port(place, usual)
    try:
        address = ip_address(host)
    except ValueError as error:
        what = f"{word.text!r} is no upstream (allowed: an address, ADDRESS:PORT, /etc/resolv.conf)"
        raise error_at(word, what, fix="10.0.0.53") from error
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise error_at(word, f"{port!r} is no port")
    if (name or slash) and scheme not in ("tls", "https"):
        raise error_at(word, f"{word.text!r}: a server name and a path are for tls:// and https:// only")
    shown = f"[{address}]" if address.version == 6 else str(address)
    if scheme in ("tls", "https"):
        tail = f"/{path or 'dns-query'}" if scheme == "https" else ""
        return (f"{scheme}://{shown}:{port}{'%' + name if name else ''}{tail}",)
    return (str(address) if port == usual else f"{shown}:{port}",)


def _split_server_name(text: str) -> tuple[str, str]:
    """``9.9.9.9%dns.quad9.net:853`` as ``9.9.9.9:853`` and the name."""
    host, percent, rest = text.partition("%")
    if not percent:
        return text, ""
    name, colon, port = rest.partition(":")
    return host + colon + port, name


def with_server_name(upstream: str, name: str) -> str:
    """An upstream over TLS with the name its certificate must have."""
    scheme, _, rest = upstream.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place}%{name}{slash}{path}"


def _split_port(text: str, usual: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or usual
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, usual


def _from_file(word: Word, path: str, resolv_conf: Sequence[str], files: dict[str, str]) -> tuple[str, ...]:
    if path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        return tuple(resolv_conf)
    text = files.get(path.rpartition("/")[2])
    if text is None:
        raise error_at(word, f"{path} is not there (allowed: /etc/resolv.conf, keys of the ConfigMap)")
    rows = (line.split() for line in text.splitlines())
    return tuple(row[1] for row in rows if len(row) > 1 and row[0] == "nameserver")


def fallthrough(line: Directive) -> tuple[str, ...]:
    """Zones of ``fallthrough``; empty for all."""
    return zones(line.args)
