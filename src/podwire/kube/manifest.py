"""Manifests: the objects of a YAML or JSON text, and what is wrong with the rest of it.

1. Documents are split at ``---`` first, so that one malformed document does not hide the others.
2. ``List`` kinds are expanded. An object given twice in one text counts once, the last time, with a warning.
3. Findings are PW9001 and begin with ``source:line``.

Not here: whether an object is valid (``validate``), whether podwire owns its kind, reading files.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from podwire.base import NOWHERE, Finding, Ref, Severity
from podwire.kube.yaml_values import YamlError, read_documents

Obj = dict[str, Any]

MAX_BYTES = 64 * 1024 * 1024

_SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_COMMENT_OR_BLANK = re.compile(r"(?:\s*(?:#[^\n]*)?\n)*\s*(?:#[^\n]*)?\Z")


def read_manifests(text: str, source: str) -> tuple[tuple[Obj, ...], tuple[Finding, ...]]:
    """Objects in order, and findings. ``source`` is the file's name as the user knows it. Never raises for input."""
    if len(text) > MAX_BYTES:
        found = _finding(source, 0, f"the text is larger than {MAX_BYTES} bytes", fix="split the file")
        return (), (found,)
    objects: dict[tuple[str, str, str, str], Obj] = {}
    findings: list[Finding] = []
    for line, value in _values(text.removeprefix("\ufeff"), source, findings):
        for obj in _expand(value, source, line, findings):
            key = _identity(obj)
            if key[3] and key in objects:
                del objects[key]
                message = f"{key[1]} {_shown(key)} is given more than once; the last one counts"
                findings.append(_finding(source, line, message, severity="warning", obj=obj, fix="remove one of them"))
            # Objects without a name (generateName, or an error validation will tell) never replace each other.
            objects[key if key[3] else (*key[:3], f"\0{len(objects)}")] = obj
    return tuple(objects.values()), tuple(findings)


def _values(text: str, source: str, findings: list[Finding]) -> Iterator[tuple[int, Any]]:
    """``(line, value)`` of every readable document; lines count from 0."""
    if text.lstrip()[:1] in ("{", "["):
        values = _json_values(text)
        if values is not None:
            yield from values
            return
    starts = [match.start() for match in _SEPARATOR.finditer(text)]
    bounds = [0, *(start for start in starts if start), len(text)]
    line = 0
    for start, end in pairwise(bounds):
        chunk = text[start:end]
        try:
            for offset, value in read_documents(chunk) if not _COMMENT_OR_BLANK.match(chunk) else ():
                yield line + offset, value
        except YamlError as error:
            findings.append(_finding(source, line + error.line, str(error), fix=_advice(str(error), chunk)))
        line += chunk.count("\n")


def _advice(message: str, chunk: str) -> str:
    if re.search(r"\{\{.*?\}\}", chunk):
        return "this looks like a template: render it first, for example with `helm template`"
    if "cannot start any token" in message and "\t" in chunk:
        return "indent with spaces, not tabs"
    if "already set" in message:
        return "keep one of the two"
    return ""


def _json_values(text: str) -> list[tuple[int, Any]] | None:
    """Concatenated JSON values; None when the text is not JSON (it may still be YAML)."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    values: list[tuple[int, Any]] = []
    position = 0
    try:
        while True:
            rest = re.compile(r"\s*").match(text, position)
            position = rest.end() if rest else position
            if position >= len(text):
                return values
            value, end = decoder.raw_decode(text, position)
            values.append((text.count("\n", 0, position), value))
            position = end
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> Obj:
    obj = dict(pairs)
    if len(obj) != len(pairs):
        raise ValueError("duplicate key")  # the YAML reader names key and line
    return obj


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _expand(value: Any, source: str, line: int, findings: list[Finding]) -> Iterator[Obj]:
    """The objects of one document."""
    if value is None:
        return
    if not isinstance(value, dict):
        shown = "a list" if isinstance(value, list) else "a plain value"
        message = f"the document is {shown}, not an object with apiVersion and kind"
        findings.append(_finding(source, line, message))
        return
    problem = _problem(value)
    if problem:
        findings.append(_finding(source, line, problem, obj=value))
    elif str(value["kind"]).endswith("List") and isinstance(value.get("items"), list):
        for index, item in enumerate(value["items"]):
            yield from _item(value, item, f"items[{index}]: ", source=source, line=line, findings=findings)
    else:
        yield value


def _item(parent: Obj, item: Any, where: str, *, source: str, line: int, findings: list[Finding]) -> Iterator[Obj]:
    if isinstance(item, dict) and parent["kind"] != "List" and "kind" not in item:
        # Items of a typed list (PodList) may leave out what the list says.
        item = {"apiVersion": parent["apiVersion"], "kind": str(parent["kind"]).removesuffix("List"), **item}
    problem = _problem(item) if isinstance(item, dict) else "not an object with apiVersion and kind"
    if problem:
        findings.append(_finding(source, line, where + problem, obj=item if isinstance(item, dict) else None))
    else:
        yield item


def _problem(value: Obj) -> str:
    """Why the mapping is no Kubernetes object; empty when it is one."""
    for key in ("apiVersion", "kind"):
        if key not in value or value[key] in (None, ""):
            return f"{key} is not set"
        if not isinstance(value[key], str):
            return f"{key} must be text"
    meta = value.get("metadata")
    if meta is not None and not isinstance(meta, dict):
        return "metadata must be a mapping"
    for key in ("name", "namespace"):
        if not isinstance((meta or {}).get(key), str | None):
            return f"metadata.{key} must be text: put it in quotes"
    return ""


def _identity(obj: Obj) -> tuple[str, str, str, str]:
    meta = obj.get("metadata") or {}
    group = obj["apiVersion"].rpartition("/")[0]
    return group, obj["kind"], meta.get("namespace") or "", meta.get("name") or ""


def _shown(key: tuple[str, str, str, str]) -> str:
    return f"{key[2]}/{key[3]}" if key[2] else key[3]


def _finding(
    source: str, line: int, message: str, *, severity: Severity = "error", obj: Obj | None = None, fix: str = ""
) -> Finding:
    meta = (obj or {}).get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    kind, name = str((obj or {}).get("kind") or "Manifest"), str(meta.get("name") or source)
    ref = Ref(kind, str(meta.get("namespace") or ""), name)
    return Finding("PW9001", severity, ref, NOWHERE, f"{source}:{line + 1}: {message}", fix)
