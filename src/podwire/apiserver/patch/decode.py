"""Bytes of a patch to plain values, bounded: a body may be hostile.

1. Nesting is limited to 256 levels (every walk over a value recurses at most that deep), and the number of values to
   a million: YAML aliases share nodes, so a small text can stand for an exponential tree.
2. Only the values JSON has: YAML dates stay text, keys are strings.
"""

import functools
import math
import re
from typing import Any

import msgspec

from podwire.apiserver.patch.errors import bad_request

MAX_DEPTH = 256
MAX_VALUES = 1_000_000


def decode_json(body: bytes) -> Any:
    """The JSON value of a body. Raises :class:`PatchError` 400."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_request(f"error decoding patch: {error}") from error
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check(value)
    return value


def decode_yaml(body: bytes) -> Any:
    """The value of a YAML body, which may be JSON. Raises :class:`PatchError` 400."""
    if body.lstrip()[:1] == b"{":
        # What kubectl and client-go send. A YAML flow mapping that is no JSON takes the other way.
        try:
            value = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            value = _load_yaml(body)
    else:
        value = _load_yaml(body)
    _check(value)
    return value


def _load_yaml(body: bytes) -> Any:
    import yaml

    try:
        return yaml.load(body, Loader=_yaml_loader())  # noqa: S506 - a safe loader with fewer resolvers
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise bad_request(f"error decoding YAML: {error}") from error


def _check(value: Any) -> None:
    """Refuse what is too deep, too much, or not JSON. Iterative: the value may be deeper than Python's stack."""
    pending, seen = [(value, 1)], 0
    while pending:
        node, depth = pending.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_VALUES:
            raise bad_request(f"the patch is nested deeper than {MAX_DEPTH} or has more than {MAX_VALUES} values")
        if isinstance(node, dict):
            if not all(isinstance(key, str) for key in node):
                raise bad_request("error converting YAML to JSON: keys must be strings")
            pending.extend((child, depth + 1) for child in node.values())
        elif isinstance(node, list):
            pending.extend((child, depth + 1) for child in node)
        elif not isinstance(node, str | int | float | bool | None) or (
            isinstance(node, float) and not math.isfinite(node)
        ):
            raise bad_request(f"error converting YAML to JSON: {node!r} is no JSON value")


@functools.cache
def _yaml_loader() -> Any:
    """PyYAML's safe loader without timestamps, and with true and false as the only booleans, as sigs.k8s.io/yaml."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag.rpartition(":")[2] not in ("timestamp", "bool")]
        for first, rules in base.yaml_implicit_resolvers.items()
    }
    loader: Any = type("PatchLoader", (base,), {"yaml_implicit_resolvers": resolvers})
    boolean = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
    loader.add_implicit_resolver("tag:yaml.org,2002:bool", boolean, list("tTfF"))
    return loader
