"""One request, read: its path as a target, its query as options, its Accept header as a shape.

Unknown query parameters are ignored, as Kubernetes does; a known one with a bad value is a 400.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from aiohttp.web import RequestKey

from podwire.apiserver.identity import User
from podwire.apiserver.kinds import Kinds
from podwire.apiserver.meaning import BUILT_IN, Meaning
from podwire.apiserver.status import bad_request, cause, failure, no_such_path, not_acceptable
from podwire.kube.registry import Kind

Shape = Literal["plain", "table", "partial"]

USER = RequestKey("user", User)
"""Where a request keeps who asks."""

_TRUE, _FALSE = ("true", "1", "True", "TRUE", "t", "T"), ("false", "0", "False", "FALSE", "f", "F", "")


class Target(msgspec.Struct, frozen=True):
    """What a resource path names; an empty ``name`` is the collection, an empty ``namespace`` all of them."""

    kind: Kind
    meaning: Meaning = BUILT_IN
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""

    @property
    def key(self) -> str:
        """``namespace/name`` or ``name``."""
        return f"{self.namespace}/{self.name}" if self.kind.namespaced else self.name


ASKED = RequestKey("asked", tuple[str, Target])
"""Where a request keeps what it wants: the verb and on what."""


def parse_target(kinds: Kinds, group: str, version: str, parts: list[str]) -> Target:
    """The target of the path below ``/api/v1`` or ``/apis/g/v``. Raises 404."""
    namespace, rest = "", parts
    if len(parts) >= 3 and parts[0] == "namespaces" and kinds.at(group, version, parts[2]):
        namespace, rest = parts[1], parts[2:]
    kind = kinds.at(group, version, rest[0])
    if kind is None or (namespace and not kind.namespaced):
        raise no_such_path()
    name, subresource = (*rest[1:3], "", "")[:2]
    if (kind.namespaced and name and not namespace) or (subresource and subresource not in kind.subresources):
        raise no_such_path()
    return Target(kind, kinds.meaning(kind), namespace, name, subresource=subresource, rest="/".join(rest[3:]))


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean parameter, false when absent. Raises 400."""
    value = query.get(name, "")
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise bad_request(f'invalid value for {name}: strconv.ParseBool: parsing "{value}": invalid syntax')


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole, not negative number, None when absent. Raises 400."""
    text = query.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_request(f'invalid value for {name}: strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def revision(query: Mapping[str, str]) -> int | None:
    """``resourceVersion``; None when absent. Raises 400."""
    text = query.get("resourceVersion", "")
    if text and (not text.isascii() or not text.isdigit() or len(text) > 18):
        raise bad_request(f'Invalid value: "{text}": resourceVersion must be a number')
    return int(text) if text else None


def dry_run(values: list[str]) -> bool:
    """``dryRun=All``; any other value is refused."""
    wrong = [value for value in values if value != "All"]
    if wrong:
        raise _options_invalid("dryRun", f'Unsupported value: "{wrong[0]}": supported values: "All"')
    return bool(values)


def field_validation(query: Mapping[str, str]) -> str:
    """Strict, Warn (default) or Ignore."""
    value = query.get("fieldValidation", "") or "Warn"
    if value not in ("Strict", "Warn", "Ignore"):
        wrong = f'Unsupported value: "{value}": supported values: "", "Ignore", "Strict", "Warn"'
        raise _options_invalid("fieldValidation", wrong)
    return value


def options_invalid(field: str, message: str, *, kind: str = "ListOptions") -> Exception:
    """422 on request options."""
    return _options_invalid(field, message, kind=kind)


def _options_invalid(field: str, message: str, *, kind: str = "CreateOptions") -> Exception:
    reason = "FieldValueForbidden" if message.startswith("Forbidden") else "FieldValueNotSupported"
    details = {"group": "meta.k8s.io", "kind": kind, "causes": [cause(reason, message, field)]}
    text = f'{kind}.meta.k8s.io "" is invalid: {field}: {message}'
    return failure(422, "Invalid", text, details=details)


def manager_of(query: Mapping[str, str], user_agent: str) -> str:
    """``fieldManager``, else the first word of the user agent (the API server's default)."""
    manager = query.get("fieldManager", "")
    if len(manager) > 128 or not manager.isprintable():
        raise _options_invalid("fieldManager", f'Invalid value: "{manager}": must be at most 128 printable characters')
    return manager or (user_agent.split("/")[0][:128] if user_agent else "unknown")


def shape_of(accept: str) -> Shape:
    """The first representation of the Accept header that the server has. Raises 406."""
    if not accept:
        return "plain"
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        if media not in ("application/json", "application/*", "*/*"):
            continue
        named = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        match named.get("as", ""):
            case "":
                return "plain"
            case "Table" if named.get("v") in ("v1", "v1beta1"):
                return "table"
            case "PartialObjectMetadata" | "PartialObjectMetadataList" if named.get("v") in ("v1", "v1beta1"):
                return "partial"
            case _:
                pass
    raise not_acceptable("application/json")
