"""Master files (RFC 1035 section 5) of the plugin ``file``, as records in presentation form.

``$ORIGIN``, ``$TTL``, ``@``, relative names, an owner left out, parentheses, ``;`` comments and quoted strings are
understood; ``$INCLUDE`` and ``$GENERATE`` are errors. Names come out absolute and lower case, without the final dot.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address

NAMES_IN_DATA = {"NS": (0,), "CNAME": (0,), "PTR": (0,), "MX": (1,), "SRV": (3,), "SOA": (0, 1)}
TYPES = ("A", "AAAA", "CNAME", "NS", "PTR", "MX", "SRV", "SOA", "TXT")
FIELDS = {"A": 1, "AAAA": 1, "CNAME": 1, "NS": 1, "PTR": 1, "MX": 2, "SRV": 4, "SOA": 7}
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[()]|[^\s()";]+|;.*')
_TTL = re.compile(r"(\d+)([smhdw]?)", re.IGNORECASE)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
DEFAULT_TTL = 3600

Record = tuple[str, str, int, str]


class MasterFileError(ValueError):
    """The file cannot be used; the text says the line."""


def read_master_file(text: str, origin: str) -> tuple[Record, ...]:
    """All records of a zone; the first is its SOA. Raises :class:`MasterFileError`."""
    records: list[Record] = []
    owner, ttl, zone = origin, DEFAULT_TTL, origin
    for line, indented, words in _logical_lines(text):
        match words[0].upper():
            case "$ORIGIN" if len(words) == 2:
                zone = _absolute(words[1], zone)
            case "$TTL" if len(words) == 2 and seconds(words[1]) is not None:
                ttl = seconds(words[1]) or 0
            case directive if directive.startswith("$"):
                raise MasterFileError(f"line {line}: {words[0]} is not understood (allowed: $ORIGIN, $TTL)")
            case _:
                if not indented:
                    owner, words = _absolute(words[0], zone), words[1:]
                records.append(_record(line, owner, words, ttl=ttl, zone=zone))
    soas = [r for r in records if r[1] == "SOA"]
    if len(soas) != 1 or soas[0][0] != origin:
        raise MasterFileError(f"the zone {origin or '.'} needs one SOA record at its apex")
    outside = next((r[0] for r in records if origin and r[0] != origin and not r[0].endswith(f".{origin}")), None)
    if outside is not None:
        raise MasterFileError(f"{outside} is not in the zone {origin}")
    return (*soas, *(r for r in records if r[1] != "SOA"))


def seconds(text: str) -> int | None:
    """``3600``, ``1h30m``; None when it is no time."""
    parts = _TTL.findall(text)
    if not parts or "".join(a + b for a, b in parts) != text:
        return None
    return sum(int(amount) * _UNITS[unit.lower()] for amount, unit in parts)


def _logical_lines(text: str) -> Iterator[tuple[int, bool, list[str]]]:
    """Line number, whether the owner is left out, and words; parentheses join lines."""
    words: list[str] = []
    depth, start, indented = 0, 1, False
    for number, row in enumerate(text.splitlines(), 1):
        if not depth:
            words, start, indented = [], number, row[:1] in (" ", "\t")
        for piece in _TOKEN.findall(row):
            if piece.startswith(";"):
                break
            if piece in "()":
                depth += 1 if piece == "(" else -1
            else:
                words.append(piece)
        if words and depth <= 0:
            yield start, indented, words
    if depth:
        raise MasterFileError(f"line {start}: a parenthesis is not closed")


def _absolute(name: str, zone: str) -> str:
    if name == "@":
        return zone
    if name.endswith("."):
        return name.lower().rstrip(".")
    return f"{name}.{zone}".lower().rstrip(".")


def _record(line: int, owner: str, words: list[str], *, ttl: int, zone: str) -> Record:
    words = list(words)
    for _ in range(2):
        if words and seconds(words[0]) is not None and words[0][0].isdigit():
            ttl = seconds(words.pop(0)) or 0
        elif words and words[0].upper() == "IN":
            words.pop(0)
    rtype = words[0].upper() if words else ""
    if rtype not in TYPES:
        raise MasterFileError(f"line {line}: {rtype or 'nothing'} is no record type here (allowed: {', '.join(TYPES)})")
    data = words[1:]
    if not data or (rtype in FIELDS and len(data) != FIELDS[rtype]):
        raise MasterFileError(f"line {line}: {rtype} takes {FIELDS.get(rtype, 'at least 1')} words, got {len(data)}")
    _check_data(line, rtype, data)
    for place in NAMES_IN_DATA.get(rtype, ()):
        data[place] = _absolute(data[place], zone)
    if rtype == "SOA":
        data[2:] = [str(seconds(word) or 0) for word in data[2:]]
    return owner, rtype, ttl, " ".join(data)


def _check_data(line: int, rtype: str, data: list[str]) -> None:
    """What the server could not write."""
    if rtype in ("A", "AAAA"):
        version = 4 if rtype == "A" else 6
        try:
            good = ip_address(data[0]).version == version
        except ValueError:
            good = False
        if not good:
            raise MasterFileError(f"line {line}: {data[0]} is no IPv{version} address")
    numbers = data[: {"MX": 1, "SRV": 3}.get(rtype, 0)]
    if not all(n.isdecimal() and int(n) < 65536 for n in numbers):
        raise MasterFileError(f"line {line}: {' '.join(numbers)} are not numbers below 65536")
    for place in NAMES_IN_DATA.get(rtype, ()):
        if data[place] != "@" and any(not 0 < len(label) < 64 for label in data[place].rstrip(".").split(".")):
            raise MasterFileError(f"line {line}: {data[place]} is no name")
