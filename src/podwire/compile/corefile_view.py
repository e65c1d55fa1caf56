"""Expressions of the plugin ``view``: a safe part of expr (github.com/expr-lang/expr), checked before anyone asks.

Rules:

1. ``||`` ``or``, ``&&`` ``and``, ``!`` ``not``, ``==`` ``!=`` ``<`` ``<=`` ``>`` ``>=``, ``in`` and ``not in`` with a
   list ``[a, b]``, ``matches``, ``contains``, ``startsWith``, ``endsWith``, parentheses, texts in either quotes, whole
   numbers, ``true`` and ``false``. Nothing loops, so an expression costs its length.
2. The functions are those of :data:`FUNCTIONS`, with CoreDNS's meaning. Anything else is an error that names them.
3. Every part has a type (text, number, bool); parts that do not fit together are an error here, never at a question.
4. What comes out are nested tuples: ``("in", ("type",), ("list", "A", "AAAA"))``; the server evaluates those.

Source: coredns:plugin/view, plugin/pkg/expression.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network

from podwire.plan.dnsconfig import Expression

TEXT, NUMBER, BOOL = "text", "number", "bool"
FUNCTIONS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "incidr": ((TEXT, TEXT), BOOL),
    "type": ((), TEXT),
    "name": ((), TEXT),
    "class": ((), TEXT),
    "proto": ((), TEXT),
    "size": ((), NUMBER),
    "client_ip": ((), TEXT),
    "port": ((), TEXT),
    "id": ((), NUMBER),
    "opcode": ((), NUMBER),
    "do": ((), BOOL),
    "bufsize": ((), NUMBER),
    "server_ip": ((), TEXT),
    "server_port": ((), TEXT),
}
"""Argument types and the type of the value."""
MAX_DEPTH = 32
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|(?P<number>\d+)|(?P<word>[A-Za-z_]\w*)"""
    r"""|(?P<sign>\|\||&&|==|!=|<=|>=|[<>!()\[\],]))"""
)
_TEXT_TESTS = ("matches", "contains", "startsWith", "endsWith")


class ExpressionError(ValueError):
    """The expression cannot be used; the text says why and what is allowed."""


def parse_expression(text: str) -> Expression:
    """The checked tree of an expression. Raises :class:`ExpressionError`."""
    parser = _Parser(text)
    tree, kind = parser.any_of()
    if parser.next:
        raise ExpressionError(f"{parser.next!r} is one word too many")
    if kind != BOOL:
        raise ExpressionError(f"the expression gives a {kind}, not true or false")
    return tree


Typed = tuple[Expression, str]


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0

    @property
    def next(self) -> str:
        """The next word, empty at the end."""
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    @property
    def _kind(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _take(self, *signs: str) -> bool:
        if self._kind != "text" and self.next in signs:
            self._at += 1
            return True
        return False

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise ExpressionError(f"expected {sign!r}, got {self.next or 'the end'!r}")

    def any_of(self) -> Typed:
        """Joined by ``||``."""
        return self._joined(self._all_of, ("||", "or"), "or")

    def _all_of(self) -> Typed:
        return self._joined(self._not, ("&&", "and"), "and")

    def _joined(self, part: Callable[[], Typed], signs: tuple[str, ...], name: str) -> Typed:
        found = part()
        while self._take(*signs):
            other = part()
            _need_type(found, BOOL, name)
            _need_type(other, BOOL, name)
            found = (name, found[0], other[0]), BOOL
        return found

    def _not(self) -> Typed:
        if not self._take("!", "not"):
            return self._comparison()
        self._deeper()
        found = self._not()
        self._depth -= 1
        _need_type(found, BOOL, "not")
        return ("not", found[0]), BOOL

    def _comparison(self) -> Typed:
        left = self._value()
        sign = self.next if self._kind != "text" else ""
        if sign == "not" or sign == "in":
            negated = self._take("not")
            self._need("in")
            tree: Expression = ("in", left[0], self._list(left[1]))
            return (("not", tree) if negated else tree), BOOL
        if sign in _TEXT_TESTS:
            return self._text_test(left, sign)
        if sign not in ("==", "!=", "<", "<=", ">", ">="):
            return left
        self._take(sign)
        right = self._value()
        if left[1] != right[1]:
            raise ExpressionError(f"{sign} compares a {left[1]} with a {right[1]}")
        if len(sign) + (sign in "<>") == 2 and sign[0] in "<>" and left[1] != NUMBER:
            raise ExpressionError(f"{sign} compares numbers, got a {left[1]}")
        return (sign, left[0], right[0]), BOOL

    def _text_test(self, left: Typed, sign: str) -> Typed:
        self._take(sign)
        right = self._value()
        _need_type(left, TEXT, sign)
        _need_type(right, TEXT, sign)
        if sign == "matches":
            pattern = _literal(right[0], "matches takes a pattern in quotes")
            try:
                re.compile(pattern)
            except re.error as error:
                raise ExpressionError(f"{pattern!r} is no regular expression: {error}") from error
        return (sign, left[0], right[0]), BOOL

    def _list(self, kind: str) -> Expression:
        self._need("[")
        values: list[Expression] = []
        while not self._take("]"):
            if values:
                self._need(",")
            value = self._value()
            _need_type(value, kind, "in")
            values.append(value[0])
        return ("list", *values)

    def _value(self) -> Typed:
        kind, word = self._kind, self.next
        if self._take("("):
            self._deeper()
            found = self.any_of()
            self._need(")")
            self._depth -= 1
            return found
        if not word:
            raise ExpressionError("the expression ends too early")
        self._at += 1
        match kind:
            case "text":
                return ("text", _unquoted(word)), TEXT
            case "number":
                return ("number", int(word)), NUMBER
            case "word" if word in ("true", "false"):
                return ("bool", word == "true"), BOOL
            case "word":
                return self._call(word)
        raise ExpressionError(f"{word!r} is not expected there")

    def _call(self, name: str) -> Typed:
        known = FUNCTIONS.get(name)
        if known is None:
            raise ExpressionError(f"{name!r} is no function here (there are: {', '.join(sorted(FUNCTIONS))})")
        wanted, kind = known
        self._need("(")
        arguments: list[Expression] = []
        for place, part in enumerate(wanted):
            if place:
                self._need(",")
            value = self._value()
            _need_type(value, part, name)
            arguments.append(value[0])
        self._need(")")
        if name == "incidr":
            network = _literal(arguments[1], "incidr takes a network in quotes")
            try:
                ip_network(network, strict=False)
            except ValueError as error:
                raise ExpressionError(f"{network!r} is no network: {error}") from error
        return (name, *arguments), kind

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}")


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ExpressionError(f"{text[at : at + 10].strip()!r} is not understood")
        found.append((str(token.lastgroup), token[str(token.lastgroup)]))
        at = token.end()
    return found


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1])


def _literal(tree: Expression, message: str) -> str:
    if tree[0] != "text":
        raise ExpressionError(message)
    return str(tree[1])


def _need_type(found: Typed, kind: str, where: str) -> None:
    if found[1] != kind:
        raise ExpressionError(f"{where} takes a {kind}, got a {found[1]}")
