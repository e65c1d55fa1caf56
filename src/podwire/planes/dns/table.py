"""The zone as the worker keeps it: units of records by name, tails compiled at their first question. Pure.

Rules:

1. A unit replaces the unit of the same key; cost follows the unit, not the zone.
2. Keys are lower-cased wire names, so a label that holds a dot is never confused with two labels.
3. A name exists while any unit has records at or below it; counts per unit make removal exact.
4. A compiled tail lives until its name changes; one that used other names (SRV glue, SOA, aliases) until any change.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from podwire.planes.dns import wire
from podwire.planes.dns.clients import Places
from podwire.planes.dns.render import AAAA, MAX_TURNS, SRV, A, Rec, Tail, render_answer

KEPT_TYPES = frozenset((*wire.TYPES.values(), 65))
"""Tails of these types are kept (65 is HTTPS, which browsers ask for); others are made anew: there are 65,536 types."""


class Meta(NamedTuple):
    """What holds for the whole zone. ``namespaces`` empty: pod names are not echoed."""

    domain: str
    reverse: tuple[str, ...]
    namespaces: frozenset[str]
    pods_ttl: int
    serial: int
    upstreams: tuple[str, ...]
    fallthrough: tuple[str, ...] | None = None
    """Zones whose unknown names go to the upstreams; None: the reverse zones."""
    config: list[Any] | None = None
    """Server blocks as plain values; None: the zone and the upstreams."""
    watched: tuple[str, ...] = ()
    """Names whose answers wait (``hold.py``)."""
    places: tuple[tuple[str, str], ...] = ()
    """Networks and their topology zones."""
    client_rate: int = 0
    """Questions per second of one client over UDP; 0: no limit."""


WireRecord = tuple[str, str, int, str]
"""Name, type, TTL, data."""


_Part = tuple[str, tuple[Rec, ...]]
_Parts = _Part | tuple[_Part, ...]
"""What units have at a name: (unit, records), or several of these. Most names belong to one unit; there are many."""


class Table:
    """One zone's names. Implements :class:`podwire.planes.dns.render.Names`."""

    def __init__(self, meta: Meta) -> None:
        """Empty."""
        self._units: dict[str, tuple[tuple[bytes, ...], tuple[bytes, ...]]] = {}
        self._names: dict[bytes, _Parts] = {}
        self._counts: dict[bytes, int] = {}
        self._tails: dict[bytes, dict[int, tuple[Tail, ...]]] = {}
        self._linked: set[bytes] = set()
        self._clients: dict[str, str] = {}
        self.set_meta(meta)

    def set_meta(self, meta: Meta) -> None:
        """Replace what holds for the whole zone."""
        self.meta = meta
        domain = wire.encode_name(meta.domain)
        self._service_suffix, self._pod_suffix = b"\3svc" + domain, b"\3pod" + domain
        self._reverse = frozenset(map(wire.encode_name, meta.reverse))
        fallthrough = meta.reverse if meta.fallthrough is None else meta.fallthrough
        self._open = frozenset(map(wire.encode_name, fallthrough))
        self._zones = {domain, *self._reverse}
        self._namespaces = frozenset(n.encode() for n in meta.namespaces)
        self.places = Places(meta.places) if meta.places else None
        self._settle(())

    def put(self, key: str, records: Iterable[WireRecord], exists: Iterable[str] = ()) -> None:
        """Add or replace a unit. Raises :class:`ValueError`, with the old unit gone and nothing added."""
        self.remove(key)
        found: dict[bytes, list[Rec]] = {}
        for text, rtype, ttl, data in records:
            found.setdefault(wire.encode_name(text), []).append(Rec(wire.TYPES[rtype], ttl, data))
        unit = (tuple(found), tuple(map(wire.encode_name, exists)))
        for owner, recs in found.items():
            self._names[owner] = _joined((*_parts(self._names.get(owner, ())), (key, tuple(recs))))
        for name in _implied(*unit):
            self._counts[name] = self._counts.get(name, 0) + 1
        self._units[key] = unit
        if key.startswith("Pod/"):
            namespace = key.split("/")[1]
            self._clients.update((r.data, namespace) for recs in found.values() for r in recs)
        self._settle(found)

    def remove(self, key: str) -> None:
        """Drop a unit; unknown keys are fine."""
        unit = self._units.pop(key, ((), ()))
        if key.startswith("Pod/"):
            for address in [
                r.data for owner in unit[0] for k, recs in _parts(self._names[owner]) if k == key for r in recs
            ]:
                self._clients.pop(address, None)
        for owner in unit[0]:
            left = tuple(part for part in _parts(self._names.pop(owner)) if part[0] != key)
            if left:
                self._names[owner] = _joined(left)
        for name in _implied(*unit):
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]
        self._settle(unit[0])

    def _settle(self, changed: Iterable[bytes]) -> None:
        for name in (*changed, *self._linked):
            self._tails.pop(name, None)
        self._linked.clear()

    def namespace_of(self, address: str) -> str | None:
        """The namespace of the pod that has an address; known while pods are ``verified``."""
        return self._clients.get(address)

    def zone_names(self, zone: bytes) -> list[tuple[bytes, tuple[Rec, ...]]] | None:
        """Every name of a zone with its records, in order; None when ``zone`` is the apex of none."""
        if zone not in self._zones:
            return None
        return sorted((key, self.find(key)) for key in self._names if self.zone_of(key) == zone)

    @property
    def size(self) -> tuple[int, int]:
        """Names with records, and units."""
        return len(self._names), len(self._units)

    def lookup(self, name: bytes, rtype: int) -> tuple[Tail, ...] | None:
        """The tails for a question, one per rotation; None when an upstream must answer.

        ``name`` is the question's name as sent.
        """
        key = name.lower()
        known = self._tails.get(key)
        keeps_case = rtype != SRV or key == name
        if known is not None and keeps_case and rtype in known:
            return known[rtype]
        rendered = render_answer(self, name, rtype)
        if rendered is None:
            return None
        tail, turns = rendered
        more = (render_answer(self, name, rtype, turn=turn) for turn in range(1, min(turns, MAX_TURNS)))
        tails = (tail, *(m[0] for m in more if m is not None))
        if key in self._names and keeps_case and rtype in KEPT_TYPES:
            self._tails.setdefault(key, {})[rtype] = tails
            if tail.linked:
                self._linked.add(key)
        return tails

    def find(self, key: bytes) -> tuple[Rec, ...]:
        """Records at a name: its own, those of the name with underscores, or the echo of a pod name."""
        found = self._names.get(key)
        if found is None:
            return self._find_derived(key)
        return _records(found)

    def exists(self, key: bytes) -> bool:
        """Whether the name or one below it has records."""
        return key in self._names or key in self._counts or key in self._zones or self._zonal(key)[1] != b""

    def zone_of(self, key: bytes) -> bytes | None:
        """The apex of the zone that holds the name."""
        return next((rest for _, rest in wire.suffixes_of(key) if rest in self._zones), None)

    def falls_through(self, zone: bytes) -> bool:
        """Some zones fall through while there is an upstream."""
        return zone in self._open and bool(self.meta.upstreams)

    def _zonal(self, key: bytes) -> tuple[bytes, bytes]:
        """``pin`` or ``prefer`` of a zonal name of an existing headless Service, and the Service's name; empty for
        others (``podwire.plan.zone.zonal_base``)."""
        at = key.find(b"\5_zone")
        if at < 4 or not key.endswith(self._service_suffix):
            return b"", b""
        places = [place for place, _ in wire.suffixes_of(key)]
        if at not in places[2:] or key[at:] not in self._counts:
            return b"", b""
        directive = key[places[places.index(at) - 1] + 1 : at]
        return (directive, key[at + 6 :]) if directive in (b"pin", b"prefer") else (b"", b"")

    def _find_derived(self, key: bytes) -> tuple[Rec, ...]:
        directive, service = self._zonal(key)
        if directive == b"prefer":
            return _records(self._names.get(service, ()))
        rests = [rest for _, rest in wire.suffixes_of(key)]
        if len(rests) > 4 and rests[4] == self._service_suffix:
            port, protocol, *_ = wire.labels_of(key)
            plain = b"".join(_label(b"_" + part.removeprefix(b"_")) for part in (port, protocol)) + rests[2]
            return _records(self._names.get(plain, ()))
        if len(rests) > 2 and rests[2] == self._pod_suffix:
            return self._echo(*wire.labels_of(key))
        return ()

    def _echo(self, dashed: bytes, namespace: bytes, *_: bytes) -> tuple[Rec, ...]:
        if namespace not in self._namespaces or dashed.translate(None, b"0123456789abcdef-"):
            return ()
        text = dashed.decode()
        parts = text.split("-")
        if len(parts) == 4 and all(map(_is_octet, parts)):
            return (Rec(A, self.meta.pods_ttl, ".".join(parts)),)
        from ipaddress import IPv6Address

        try:
            return (Rec(AAAA, self.meta.pods_ttl, str(IPv6Address(text.replace("-", ":")))),)
        except ValueError:
            return ()


def _parts(value: "_Parts | tuple[()]") -> tuple[_Part, ...]:
    return (value,) if value and isinstance(value[0], str) else value


def _joined(parts: tuple[_Part, ...]) -> _Parts:
    return parts[0] if len(parts) == 1 else tuple(sorted(parts))


def _records(value: "_Parts | tuple[()]") -> tuple[Rec, ...]:
    if value and isinstance(value[0], str):
        return value[1]
    return tuple(rec for _, recs in _parts(value) for rec in recs)


def _implied(owners: Iterable[bytes], exists: Iterable[bytes]) -> set[bytes]:
    """Names that exist because of a unit without being owners: what it lists, and every proper ancestor."""
    implied = set(exists)
    for name in (*owners, *exists):
        implied.update(rest for at, rest in wire.suffixes_of(name) if at)
    return implied


def _label(label: bytes) -> bytes:
    return bytes((len(label) & 63,)) + label


def _is_octet(text: str) -> bool:
    return text.isdigit() and (text == "0" or text[0] != "0") and int(text) < 256
