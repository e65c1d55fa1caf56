"""Label and field selector strings, as in ``kubectl get -l`` and ``--field-selector``.

Label grammar: terms joined by commas; ``key``, ``!key``, ``key=value``, ``key==value``, ``key!=value``,
``key in (a,b)``, ``key notin (a,b)``, ``key>1``, ``key<1``. ``!=`` and ``notin`` match objects without the key.

Spec: apimachinery pkg/labels/selector.go and pkg/fields/selector.go.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from podwire.kube.fields import field_value, supported_fields
from podwire.kube.names import label_key_problems, label_value_problems

Labels = Mapping[str, str]
LabelPredicate = Callable[[Labels], bool]

_TOKEN = re.compile(r"\s*(?:(?P<op>==|!=|=|!|,|\(|\)|<|>)|(?P<word>[^\s=!,()<>]+))")
_INTEGER = re.compile(r"[+-]?\d+\Z")


class SelectorError(ValueError):
    """The selector cannot be parsed; the text is what Kubernetes answers with 400 BadRequest."""


def parse_label_selector(text: str) -> LabelPredicate:
    """A predicate over labels. Raises :class:`SelectorError`; the empty selector matches everything."""
    terms = _Parser(text).terms()

    def matches(labels: Labels) -> bool:
        return all(term(labels) for term in terms)

    return matches


def parse_field_selector(kind_name: str, text: str) -> Callable[[Mapping[str, Any]], bool]:
    """A predicate over objects of a kind. Raises :class:`SelectorError` for a field the kind does not select on."""
    terms = []
    for part in _split_unescaped(text):
        if not part:
            continue
        found = re.match(r"(?P<path>[^=!]*)(?P<op>!=|==|=)(?P<value>.*)\Z", part, re.DOTALL)
        if not found:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        path = found["path"].strip()
        if path not in supported_fields(kind_name):
            raise SelectorError(
                f'field label not supported: "{path}"' if kind_name in _OLD_TEXT else _unsupported(path)
            )
        terms.append((path, found["op"] == "!=", re.sub(r"\\(.)", r"\1", found["value"])))

    def matches(obj: Mapping[str, Any]) -> bool:
        return all((field_value(kind_name, obj, path) == value) is not negated for path, negated, value in terms)

    return matches


_OLD_TEXT = frozenset({"Pod", "Node", "Namespace", "Secret", "Service", "Event"})
"""Kinds whose conversion functions word the error differently."""


def _unsupported(path: str) -> str:
    return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _split_unescaped(text: str) -> list[str]:
    return re.split(r"(?<!\\),", text)


class _Parser:
    """Recursive descent over the tokens of a label selector."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position, stripped = 0, text.rstrip()
        while position < len(stripped):
            found = _TOKEN.match(stripped, position)
            if not found:
                raise SelectorError(f"unable to parse requirement: {stripped[position:]!r}")
            self._tokens.append(found.group().strip())
            position = found.end()
        self._next = 0

    def terms(self) -> list[LabelPredicate]:
        """All requirements."""
        found: list[LabelPredicate] = []
        while self._peek():
            found.append(self._requirement())
            word = self._take()
            if word not in (",", ""):
                raise SelectorError(f"unable to parse requirement: found '{word}', expected: ',' or 'end of string'")
            if word == "," and self._peek() in ("", ","):
                shown = self._peek()
                raise SelectorError(f"unable to parse requirement: found '{shown}', expected: identifier after ','")
        return found

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        word = self._peek()
        self._next += 1
        return word

    def _requirement(self) -> LabelPredicate:
        if self._peek() == "!":
            self._take()
            key = self._key()
            return lambda labels: key not in labels
        key = self._key()
        operator = self._peek()
        if operator in ("", ","):
            return lambda labels: key in labels
        self._take()
        match operator:
            case "=" | "==":
                value = self._value(key)
                return lambda labels: labels.get(key) == value
            case "!=":
                value = self._value(key)
                return lambda labels: labels.get(key) != value
            case "in":
                members = self._members(key)
                return lambda labels: labels.get(key) in members
            case "notin":
                members = self._members(key)
                return lambda labels: labels.get(key) not in members
            case "<" | ">":
                return self._comparison(key, operator)
            case _:
                raise SelectorError(
                    f"unable to parse requirement: found '{operator}', expected: in, notin, =, ==, !=, gt, lt"
                )

    def _key(self) -> str:
        word = self._take()
        if not word or word in "=!,()<>" or word in ("==", "!="):
            raise SelectorError(f"unable to parse requirement: found '{word}', expected: identifier")
        for problem in label_key_problems(word):
            raise SelectorError(f'unable to parse requirement: key: Invalid value: "{word}": {problem}')
        return word

    def _value(self, key: str) -> str:
        if self._peek() in ("", ","):
            return ""
        word = self._take()
        if word in ("=", "==", "!=", "!", "(", ")", "<", ">"):
            raise SelectorError(f"unable to parse requirement: found '{word}', expected: identifier")
        self._check_value(key, word)
        return word

    def _members(self, key: str) -> frozenset[str]:
        if self._take() != "(":
            raise SelectorError("unable to parse requirement: found '', expected: '('")
        members, current = set(), ""
        while True:
            word = self._take()
            if word == "":
                raise SelectorError("unable to parse requirement: found '', expected: ',' or ')'")
            if word in (",", ")"):
                members.add(current)
                current = ""
                if word == ")":
                    return frozenset(members)
                continue
            self._check_value(key, word)
            current = word

    def _comparison(self, key: str, operator: str) -> LabelPredicate:
        value = self._value(key)
        if not _INTEGER.match(value):
            raise SelectorError(
                f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": '
                "for 'Gt', 'Lt' operators, the value must be an integer"
            )
        wanted = int(value)

        def compares(labels: Labels) -> bool:
            actual = labels.get(key, "")
            if not _INTEGER.match(actual):
                return False
            return int(actual) > wanted if operator == ">" else int(actual) < wanted

        return compares

    @staticmethod
    def _check_value(key: str, value: str) -> None:
        for problem in label_value_problems(value):
            raise SelectorError(f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": {problem}')
