"""Request bodies: size, media type, JSON and YAML into values that nothing can blow up.

Rules: at most 3 MiB; nesting at most 256 deep; YAML aliases may not multiply into more than a million nodes;
a field named twice is found (Strict refuses it, Warn names it).
"""

import functools
import json
from typing import Any

import msgspec
from aiohttp.web import BaseRequest

from podwire.apiserver.status import bad_request, too_big, unsupported_media

Json = dict[str, Any]

LIMIT_BYTES = 3 * 1024 * 1024
MAX_DEPTH = 256
MAX_NODES = 1_000_000
ACCEPTED = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")


async def read_bytes(request: BaseRequest) -> bytes:
    """The body. Raises 413 above 3 MiB, before reading more than that."""
    if (request.content_length or 0) > LIMIT_BYTES:
        raise too_big(LIMIT_BYTES)
    parts, size = [], 0
    async for part in request.content.iter_chunked(256 * 1024):
        size += len(part)
        if size > LIMIT_BYTES:
            raise too_big(LIMIT_BYTES)
        parts.append(part)
    return b"".join(parts)


def decode(data: bytes, content_type: str) -> tuple[Json, list[str]]:
    """The object of a body, and the paths of fields named twice. Raises 400 and 415."""
    media = content_type.split(";")[0].strip().lower()
    if media in _YAML:
        value: Any = parse_yaml(data)
        doubled: list[str] = []
    elif media == PROTOBUF:
        value, doubled = parse_protobuf(data), []
    elif media in ("", "application/json", "text/json"):
        value, doubled = parse_json(data)
    else:
        raise unsupported_media(media, ACCEPTED)
    if not isinstance(value, dict):
        raise bad_request("the body of the request must be one object")
    return value, doubled


def parse_json(data: bytes) -> tuple[Any, list[str]]:
    """JSON, with the paths of fields named twice. Raises 400."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_request(f"the object provided is unrecognized (invalid JSON): {error}") from error
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        check_size(value)
    return value, _doubled(data)


def parse_protobuf(data: bytes) -> Json:
    """A built-in kind as protobuf. Raises 400, and 415 for kinds without that form."""
    from podwire.kube.protobuf import NoProtobuf, ProtobufError, decode_body

    try:
        value = decode_body(data)
    except NoProtobuf as error:
        raise unsupported_media(f"{PROTOBUF}: {error}", "application/json, application/yaml") from error
    except ProtobufError as error:
        raise bad_request(f"the object provided is unrecognized (invalid protobuf): {error}") from error
    check_size(value)
    return value


def parse_yaml(data: bytes) -> Any:
    """One YAML document; scalars as Kubernetes reads them (no dates, no yes and no). Raises 400."""
    import yaml

    try:
        value = yaml.load(data, Loader=_yaml_loader())  # noqa: S506 - a safe loader with fewer resolvers
    except (yaml.YAMLError, RecursionError, ValueError, UnicodeDecodeError) as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from error
    check_size(value)
    return value


def check_size(value: Any) -> None:
    """Raise 400 when ``value`` is nested too deep or, through aliases, too big."""
    pending, nodes = [(value, 1)], 0
    while pending:
        node, depth = pending.pop()
        nodes += 1
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            raise bad_request(f"the object is nested deeper than {MAX_DEPTH} or has more than {MAX_NODES} values")
        if isinstance(node, dict):
            if not all(isinstance(key, str) for key in node):
                raise bad_request("error converting YAML to JSON: keys must be strings")
            pending.extend((child, depth + 1) for child in node.values())
        elif isinstance(node, list):
            pending.extend((child, depth + 1) for child in node)


def _doubled(data: bytes) -> list[str]:
    """Paths of repeated fields; the standard decoder is asked because it shows every pair."""
    seen = False

    def pairs(found: list[tuple[str, Any]]) -> Json:
        nonlocal seen
        value = dict(found)
        if len(value) != len(found):
            seen = True
            names = [name for name, _ in found]
            value["\0doubled"] = sorted({name for name in names if names.count(name) > 1})
        return value

    tree = json.loads(data, object_pairs_hook=pairs)
    return list(_collect(tree)) if seen else []


def _collect(tree: Any) -> list[str]:
    found: list[str] = []
    pending = [(tree, "")]
    while pending:
        node, path = pending.pop()
        if isinstance(node, dict):
            found.extend(f"{path}.{name}".lstrip(".") for name in node.pop("\0doubled", ()))
            pending.extend((child, f"{path}.{name}".lstrip(".")) for name, child in node.items())
        elif isinstance(node, list):
            pending.extend((child, f"{path}[{index}]") for index, child in enumerate(node))
    return sorted(found)


@functools.cache
def _yaml_loader() -> Any:
    import re

    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Without timestamps, and with true and false as the only booleans."""

    kept = {
        first: [(tag, pattern) for tag, pattern in rules if tag.rpartition(":")[2] not in ("timestamp", "bool")]
        for first, rules in Loader.yaml_implicit_resolvers.items()
    }
    Loader.yaml_implicit_resolvers = kept
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), "tTfF"
    )
    return Loader
