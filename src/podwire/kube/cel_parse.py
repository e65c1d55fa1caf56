"""The Common Expression Language: text to syntax tree.

1. The tree is finite and shallow: at most ``MAX_DEPTH`` levels, so that walking it cannot overflow the stack. Chains of
   ``&&`` and ``||`` are one node each.
2. Macros (``has``, ``all``, ``map``, ...) are calls here; ``cel_compile`` gives them their meaning.
3. Optional syntax (``a.?b``, ``a[?b]``, ``[?a]``, ``{?k: v}``) is read.

Not here: message construction (``Type{field: value}``), which Kubernetes' rules do not have.
Spec: cel-spec doc/langdef.md, "Syntax".
"""

import functools
import re
from typing import Any

import msgspec

MAX_DEPTH = 120
MAX_LENGTH = 100_000
_RELATIONS = ("<=", ">=", "==", "!=", "<", ">", "in")
_PRECEDENCE = {"+": 2, "-": 2, "*": 3, "/": 3, "%": 3} | dict.fromkeys(_RELATIONS, 1)
_RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | {c: c for c in "\\?\"'`"}


class CelSyntaxError(ValueError):
    """The text is no expression."""


class Literal(msgspec.Struct, frozen=True):
    """A constant."""

    value: Any


class Name(msgspec.Struct, frozen=True):
    """A variable or type."""

    name: str


class Select(msgspec.Struct, frozen=True):
    """``operand.field``, or ``operand.?field``."""

    operand: "Node"
    field: str
    optional: bool = False


class Call(msgspec.Struct, frozen=True):
    """A function, method or operator (``_+_``); methods have a ``target``."""

    function: str
    args: "tuple[Node, ...]"
    target: "Node | None" = None


class ListOf(msgspec.Struct, frozen=True):
    """``[a, ?b]``: items and whether each is optional."""

    items: "tuple[tuple[Node, bool], ...]"


class MapOf(msgspec.Struct, frozen=True):
    """``{k: v, ?k: v}``."""

    entries: "tuple[tuple[Node, Node, bool], ...]"


Node = Literal | Name | Select | Call | ListOf | MapOf


class UInt(int):
    """A CEL ``uint``."""


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str
    at: int


def parse(text: str) -> Node:
    """The tree of an expression. Raises :class:`CelSyntaxError`."""
    if len(text) > MAX_LENGTH:
        raise CelSyntaxError(f"expression code point size exceeds limit: size: {len(text)}, limit {MAX_LENGTH}")
    parser = _Parser(_tokens(text))
    node = parser.expression()
    if parser.peek != "":
        raise parser.unexpected()
    _check_depth(node)
    return node


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    match node:
        case Literal() | Name():
            return ()
        case Select():
            return (node.operand,)
        case Call():
            return node.args if node.target is None else (node.target, *node.args)
        case ListOf():
            return tuple(item for item, _ in node.items)
        case MapOf():
            return tuple(part for key, value, _ in node.entries for part in (key, value))


def size_of(node: Node) -> int:
    """How many nodes a tree has."""
    return 1 + sum(size_of(child) for child in children(node))


def _check_depth(root: Node) -> None:
    pending: list[tuple[Node, int]] = [(root, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise CelSyntaxError("expression recursion limit exceeded")
        pending.extend((child, depth + 1) for child in children(node))


@functools.cache
def _lexer() -> re.Pattern[str]:
    return re.compile(
        r"""(?P<space>(?:\s|//[^\n]*)+)
        |(?P<string>[rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''
            |"(?:\\.|[^\\"\n])*"|'(?:\\.|[^\\'\n])*'))
        |(?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
        |(?P<int>0[xX][0-9a-fA-F]+[uU]?|\d+[uU]?)
        |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
        |(?P<quoted>`[A-Za-z0-9_./ -]+`)
        |(?P<op>&&|\|\||<=|>=|==|!=|\.\?|\[\?|[-+*/%<>!?:.,()\[\]{}])""",
        re.VERBOSE | re.DOTALL,
    )


def _tokens(text: str) -> list[_Token]:
    found, at, lexer = [], 0, _lexer()
    while at < len(text):
        match = lexer.match(text, at)
        if match is None:
            raise CelSyntaxError(f"{_where(text, at)}: Syntax error: token recognition error at: '{text[at]}'")
        if match.lastgroup != "space":
            found.append(_Token(match.lastgroup or "", match.group(), at))
        at = match.end()
    found.append(_Token("end", "", len(text)))
    return found


def _where(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    return f"ERROR: <input>:{line}:{at - text.rfind(chr(10), 0, at)}"


class _Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    @property
    def peek(self) -> str:
        """The next token when it is an operator or a word; literals give their class."""
        token = self._tokens[self._at]
        return f"<{token.kind}>" if token.kind in ("string", "int", "float", "quoted") else token.text

    def unexpected(self) -> CelSyntaxError:
        """What to say about the next token."""
        token = self._tokens[self._at]
        return CelSyntaxError(f"ERROR: <input>:1:{token.at + 1}: Syntax error: unexpected '{token.text or '<EOF>'}'")

    def expression(self) -> Node:
        """``or ? or : expression``."""
        self._depth += 1
        if self._depth > MAX_DEPTH // 2:
            raise CelSyntaxError("expression recursion limit exceeded")
        node = self._chain("||", self._conjunction)
        if self._skip("?"):
            then = self._chain("||", self._conjunction)
            self._expect(":")
            node = Call("_?_:_", (node, then, self.expression()))
        self._depth -= 1
        return node

    def _conjunction(self) -> Node:
        return self._chain("&&", lambda: self._binary(1))

    def _chain(self, operator: str, part: Any) -> Node:
        parts = [part()]
        while self._skip(operator):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Call(f"_{operator}_", tuple(parts))

    def _binary(self, level: int) -> Node:
        left = self._unary() if level == 3 else self._binary(level + 1)
        while _PRECEDENCE.get(self.peek) == level:
            operator = self._next().text
            right = self._unary() if level == 3 else self._binary(level + 1)
            left = Call("@in" if operator == "in" else f"_{operator}_", (left, right))
        return left

    def _unary(self) -> Node:
        signs = []
        while self.peek in ("!", "-"):
            signs.append(self._next().text)
        if signs and signs[-1] == "-" and self.peek in ("<int>", "<float>"):
            signs.pop()
            number = _number(self._next().text)
            node = self._members(Literal(-number if not isinstance(number, UInt) else number))
        else:
            node = self._members(self._primary())
        for sign in reversed(signs):
            node = Call("!_" if sign == "!" else "-_", (node,))
        return node

    def _members(self, node: Node) -> Node:
        while True:
            if self._skip("."):
                name = self._field()
                node = Call(name, self._arguments(), node) if self._skip("(") else Select(node, name)
            elif self._skip(".?"):
                node = Select(node, self._field(), optional=True)
            elif self._skip("["):
                node = Call("_[_]", (node, self._closed("]")))
            elif self._skip("[?"):
                node = Call("_[?_]", (node, self._closed("]")))
            else:
                return node

    def _field(self) -> str:
        token = self._next()
        if token.kind == "quoted":
            return token.text[1:-1]
        if token.kind != "name" or token.text in ("true", "false", "null", "in"):
            self._at -= 1
            raise self.unexpected()
        return token.text

    def _primary(self) -> Node:
        token = self._next()
        match token.kind, token.text:
            case "op", "(":
                return self._closed(")")
            case "op", "[":
                return self._list(first_optional=False)
            case "op", "[?":
                return self._list(first_optional=True)
            case "op", "{":
                return self._map()
            case (("int" | "float"), text):
                return Literal(_number(text))
            case "string", text:
                return Literal(_string(text))
            case "name", ("true" | "false" | "null") as word:
                return Literal({"true": True, "false": False, "null": None}[word])
            case "name", name if name not in _RESERVED and name != "in":
                return Call(name, self._arguments()) if self._skip("(") else Name(name)
            case "op", ".":
                return Name(self._field())
        self._at -= 1
        raise self.unexpected()

    def _arguments(self) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._skip(")"):
            if found:
                self._expect(",")
            found.append(self.expression())
        return tuple(found)

    def _list(self, *, first_optional: bool) -> Node:
        items: list[tuple[Node, bool]] = []
        if first_optional:
            items.append((self.expression(), True))
        while not self._skip("]"):
            if items:
                self._expect(",")
                if self._skip("]"):
                    break
            optional = self._skip("?")
            items.append((self.expression(), optional))
        return ListOf(tuple(items))

    def _map(self) -> Node:
        entries: list[tuple[Node, Node, bool]] = []
        while not self._skip("}"):
            if entries:
                self._expect(",")
                if self._skip("}"):
                    break
            optional = self._skip("?")
            key = self.expression()
            self._expect(":")
            entries.append((key, self.expression(), optional))
        return MapOf(tuple(entries))

    def _closed(self, end: str) -> Node:
        node = self.expression()
        self._expect(end)
        return node

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += token.kind != "end"
        return token

    def _skip(self, operator: str) -> bool:
        token = self._tokens[self._at]
        if token.kind == "op" and token.text == operator:
            self._at += 1
            return True
        return False

    def _expect(self, operator: str) -> None:
        if not self._skip(operator):
            raise self.unexpected()


def _number(text: str) -> int | float:
    if text[-1] in "uU":
        return UInt(int(text[:-1], 0))
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    if text.isdigit():
        return int(text)
    return float(text)


def _string(text: str) -> str | bytes:
    start = min(text.index(quote) for quote in "\"'" if quote in text)
    prefix, body = text[:start].lower(), text[start:]
    marks = 3 if body[:3] in ('"""', "'''") else 1
    body = body[marks:-marks]
    if "r" in prefix:
        return body.encode() if "b" in prefix else body
    return _unescape_bytes(body) if "b" in prefix else _unescape(body)


@functools.cache
def _escape() -> re.Pattern[str]:
    return re.compile(r"\\(x[0-9a-fA-F]{2}|X[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|.)", re.DOTALL)


def _unescape(body: str) -> str:
    return _escape().sub(lambda found: _escaped(found.group(1)), body)


def _escaped(code: str) -> str:
    if code in _ESCAPES:
        return _ESCAPES[code]
    if len(code) == 1:
        raise CelSyntaxError(f"ERROR: unable to unescape string: \\{code}")
    try:
        return chr(int(code[1:], 16) if code[0] in "xXuU" else int(code, 8))
    except (ValueError, OverflowError) as error:
        raise CelSyntaxError(f"ERROR: unable to unescape string: \\{code}") from error


def _unescape_bytes(body: str) -> bytes:
    out, at = b"", 0
    for found in _escape().finditer(body):
        code = found.group(1)
        text = _escaped(code)
        raw = text.encode("latin-1") if len(code) == 3 and code[0] not in "uU" else text.encode()
        out += body[at : found.start()].encode() + raw
        at = found.end()
    return out + body[at:].encode()
