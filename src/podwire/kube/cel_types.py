"""What is known of an expression's values before it runs: a declaration per variable and field.

``dyn`` is "not known"; everything may be done with it, and errors show when the rule runs. Declarations of custom
resources come from their structural schema (``declaration_of``).

Spec: k8s apiserver/pkg/cel/common/schemas.go (SchemaDeclType), apiserver/pkg/cel/escaping.go.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from podwire.kube.cel_values import type_name

_KEYWORDS = frozenset(
    {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"}
    | {"let", "loop", "package", "namespace", "return", "var", "void", "while"}
)
_WORDS: Mapping[str, str] = MappingProxyType(
    {"__dot__": ".", "__dash__": "-", "__slash__": "/", "__underscores__": "__"}
)


class Decl(msgspec.Struct, frozen=True):
    """A type. ``fields`` None: a map with values of ``item``; otherwise an object with these fields only."""

    kind: str
    item: "Decl | None" = None
    fields: Mapping[str, "Decl"] | None = None

    def __str__(self) -> str:
        """As messages show it."""
        match self.kind:
            case "list":
                return f"list({self.item or DYN})"
            case "map":
                return "object" if self.fields is not None else f"map(string, {self.item or DYN})"
            case kind:
                return type_name(kind)


DYN = Decl("dyn")
BOOL, INT, DOUBLE, STRING, BYTES = Decl("bool"), Decl("int"), Decl("double"), Decl("string"), Decl("bytes")


def escape(name: str) -> str | None:
    """How a rule writes a property's name; None when it cannot."""
    if name in _KEYWORDS:
        return f"__{name}__"
    text = name.replace("__", "__underscores__").replace(".", "__dot__").replace("-", "__dash__")
    text = text.replace("/", "__slash__")
    return text if re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", text) else None


def unescape(field: str) -> str:
    """The property a rule means."""
    if "__" not in field:
        return field
    if field[:2] == field[-2:] == "__" and field[2:-2] in _KEYWORDS:
        return field[2:-2]
    return re.sub("__(?:dot|dash|slash|underscores)__", lambda found: _WORDS[found.group()], field)
