"""JSON values of a YAML document, read as Kubernetes reads them (sigs.k8s.io/yaml, a YAML 1.1 dialect).

1. Built from parser events without recursion: depth, size and alias expansion are bounded, whatever the input.
2. A key written twice in one mapping is an error that names its line (the usual loaders keep the last silently).
3. ``yes``, ``on`` and octal ``0644`` mean what they mean to kubectl; times and ``22:22`` stay text.
4. Anchors, aliases and merge keys (``<<``) work; an anchor that contains itself does not.

Seen with kubectl: ``docs/lab/2026-11-24-kubectl-yaml.md``.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

MAX_DEPTH = 100
MAX_NODES = 2_000_000
MAX_ALIASED_NODES = 200_000
"""Nodes that aliases may add to a document: far above real use, far below a billion laughs."""

_BOOLEANS = {"true": True, "yes": True, "on": True, "y": True, "false": False, "no": False, "off": False, "n": False}
_BOOLEAN = r"(?:true|True|TRUE|yes|Yes|YES|on|On|ON|y|Y|false|False|FALSE|no|No|NO|off|Off|OFF|n|N)\Z"
_INTEGER = r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)\Z"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?\Z"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_STRING_TAGS = frozenset({"tag:yaml.org,2002:str", "!"})


class YamlError(ValueError):
    """The text is no document podwire reads; ``line`` counts from 0."""

    def __init__(self, line: int, message: str) -> None:
        """Keep the place."""
        super().__init__(message)
        self.line = line


class _Open(msgspec.Struct):
    """A collection being read; ``key`` is the pending key of a mapping."""

    value: dict[str, Any] | list[Any]
    line: int
    anchor: str | None = None
    key: str | None = None
    merges: list[dict[str, Any]] = []
    size: int = 1


class _Reader:
    """The state of one document."""

    def __init__(self) -> None:
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.documents: list[tuple[int, Any]] = []
        self.nodes = 0
        self.aliased = 0

    def open(self, value: dict[str, Any] | list[Any], line: int, anchor: str | None) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise YamlError(line, f"nested more than {MAX_DEPTH} levels deep")
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            raise YamlError(line, "a mapping key must be a plain value, not a mapping or a list")
        self.stack.append(_Open(value, line, anchor, None, []))

    def close(self) -> None:
        done = self.stack.pop()
        if done.merges and isinstance(done.value, dict):
            for merged in done.merges:
                for key, value in merged.items():
                    done.value.setdefault(key, value)
        self.put(done.value, done.line, anchor=done.anchor, size=done.size)

    def alias(self, name: str, line: int) -> None:
        if name not in self.anchors:
            inside = any(opened.anchor == name for opened in self.stack)
            why = "contains itself" if inside else "is not defined"
            raise YamlError(line, f"anchor '{name}' {why}")
        value, size = self.anchors[name]
        self.aliased += size
        if self.aliased > MAX_ALIASED_NODES:
            raise YamlError(line, f"aliases expand to more than {MAX_ALIASED_NODES} values")
        self.put(value, line, anchor=None, size=size)

    def put(self, value: Any, line: int, *, anchor: str | None, size: int = 1) -> None:
        """A finished value goes to its place."""
        if anchor:
            self.anchors[anchor] = (value, size)
        if not self.stack:
            self.documents.append((line, value))
            return
        parent = self.stack[-1]
        parent.size += size
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.key is None:
            parent.key = self._new_key(parent, value, line)
        elif parent.key == "<<":
            self._merge(parent, value, line)
        else:
            parent.value[parent.key] = value
            parent.key = None

    def _new_key(self, parent: _Open, value: Any, line: int) -> str:
        key = _key_text(value)
        if key is None:
            raise YamlError(line, "a mapping key must be a plain value, not null, a mapping or a list")
        if key in parent.value and key != "<<":
            raise YamlError(line, f'key "{key}" is already set in this mapping')
        return key

    def _merge(self, parent: _Open, value: Any, line: int) -> None:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise YamlError(line, "a merge key (<<) needs a mapping or a list of mappings")
        parent.merges.extend(sources)
        parent.key = None


def _key_text(value: Any) -> str | None:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            return None


def read_documents(text: str) -> list[tuple[int, Any]]:
    """``(line, value)`` of each document of the text. Raises :class:`YamlError`."""
    import yaml  # a slow import that only readers of files pay for

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    reader = _Reader()
    try:
        _consume(reader, yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line if mark else 0, _problem(error)) from error
    except yaml.YAMLError as error:
        raise YamlError(0, str(error).splitlines()[0]) from error
    return reader.documents


def _problem(error: Any) -> str:
    context = f"{error.context}: " if error.context else ""
    return f"{context}{error.problem or 'not valid YAML'}"


def _consume(reader: _Reader, events: Iterable[Any]) -> None:
    for event in events:
        line = event.start_mark.line
        reader.nodes += 1
        if reader.nodes > MAX_NODES:
            raise YamlError(line, f"more than {MAX_NODES} values")
        match type(event).__name__:
            case "ScalarEvent":
                reader.put(_scalar(event), line, anchor=event.anchor)
            case "MappingStartEvent":
                reader.open({}, line, event.anchor)
            case "SequenceStartEvent":
                reader.open([], line, event.anchor)
            case "MappingEndEvent" | "SequenceEndEvent":
                reader.close()
            case "AliasEvent":
                reader.alias(event.anchor, line)
            case "DocumentStartEvent":
                reader.anchors, reader.aliased = {}, 0
            case _:
                pass


def _scalar(event: Any) -> Any:
    plain = event.implicit[0] and event.tag is None
    if not plain and (event.tag is None or event.tag in _STRING_TAGS):
        return event.value
    text: str = event.value
    if text in _NULLS:
        return None
    if re.match(_BOOLEAN, text):
        return _BOOLEANS[text.lower()]
    if len(text) <= 64 and re.match(_INTEGER, text):
        return _integer(text)
    if len(text) <= 64 and re.match(_FLOAT, text):
        return _number(float(text.replace("_", "")), event.start_mark.line)
    return text


def _number(value: float, line: int) -> int | float:
    """kubectl goes through JSON, where ``1e3`` and ``1.0`` are whole numbers, and infinity is none."""
    if value in (float("inf"), float("-inf")):
        raise YamlError(line, "number out of range")
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value


def _integer(text: str) -> int | str:
    bare = text.replace("_", "")
    sign = -1 if bare.startswith("-") else 1
    digits = bare.lstrip("+-")
    if not digits or digits in ("0o", "0x", "0b"):
        return text
    if digits[:2] in ("0b", "0x", "0o"):
        return sign * int(digits, 0)
    return sign * (int(digits, 8) if digits.startswith("0") and len(digits) > 1 else int(digits))
