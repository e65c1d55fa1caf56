"""``x-kubernetes-validations``: CEL rules of a structural schema, compiled once, run on new and changed values.

1. A rule that reads ``oldSelf`` is a transition rule: it runs when there is an old value (``optionalOldSelf`` runs it
   always). Old values are found by field, by key in map lists; other lists have none below them.
2. Ratcheting: other rules are skipped where the value did not change.
3. Rules of an object share a budget; when it is spent the object is refused.

Spec: k8s apiextensions-apiserver/pkg/apiserver/schema/cel/{compilation,validation}.go; KEP-2876, KEP-4008.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from podwire.kube.cel_compile import Program, compile_expression
from podwire.kube.cel_env import CompileError, CostExceeded
from podwire.kube.cel_types import Decl
from podwire.kube.cel_values import CelError, Maybe, equal
from podwire.kube.structural import ROOT_FIELDS, Rule, Structural, declaration_of
from podwire.kube.structural_check import UNSET, key_of
from podwire.kube.structural_values import to_cel
from podwire.kube.validate.errors import ErrorType, FieldError

RULE_BUDGET = 1_000_000
OBJECT_BUDGET = 2_000_000
MAX_MESSAGE = 5 * 1024
_REASONS: dict[str, ErrorType] = {
    "FieldValueInvalid": "Invalid",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required",
    "FieldValueDuplicate": "Duplicate",
}


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule ready to run. ``message`` is None when the rule has no expression for it."""

    rule: Rule
    program: Program
    message: Program | None
    transition: bool


def compile_rule(rule: Rule, kind: Decl) -> CompiledRule:
    """Raises :class:`CompileError`: the rule cannot run, or is no condition."""
    old = Decl("optional", kind) if rule.optional_old_self else kind
    program = compile_expression(rule.rule, {"self": kind, "oldSelf": old})
    if program.type.kind not in ("bool", "dyn"):
        raise CompileError("cel expression must evaluate to a bool")
    message = None
    if rule.message_expression:
        message = compile_expression(rule.message_expression, {"self": kind, "oldSelf": old})
        if message.type.kind not in ("string", "dyn"):
            raise CompileError("messageExpression must evaluate to a string")
    return CompiledRule(rule=rule, program=program, message=message, transition=_reads_old(rule.rule))


def _reads_old(text: str) -> bool:
    bare = re.sub(r"""[rRbB]?"(?:\\.|[^"\\])*"|[rRbB]?'(?:\\.|[^'\\])*'""", "''", text)
    return re.search(r"(?<![.\w])oldSelf\b", bare) is not None


class Rules:
    """The rules of one schema, compiled when first needed."""

    def __init__(self, root: Structural) -> None:
        """``root`` is the schema of the whole object."""
        self._root = root
        self._compiled: dict[int, tuple[CompiledRule, ...]] = {}

    def check(self, value: Any, old: Any = UNSET) -> Iterator[FieldError]:
        """Every rule that fails; ``old`` is the object as it was."""
        if "rules" not in self._root.active:
            return
        run = _Run(self._of)
        yield from run.walk(self._root, value, old, "", root=True)

    def _of(self, node: Structural, root: bool) -> tuple[CompiledRule, ...]:
        found = self._compiled.get(id(node))
        if found is None:
            kind = declaration_of(node, root=root)
            found = self._compiled[id(node)] = tuple(compile_rule(rule, kind) for rule in node.rules)
        return found


class _Run:
    """One object's walk, with its budget."""

    def __init__(self, rules_of: Any) -> None:
        self._rules_of = rules_of
        self._left = OBJECT_BUDGET
        self._over = False

    def walk(self, node: Structural, value: Any, old: Any, path: str, *, root: bool = False) -> Iterator[FieldError]:
        if self._over or "rules" not in node.active or value is None:
            return
        if node.rules:
            yield from self._here(node, value, old, path, root=root)
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for name, child in value.items():
                if name in ROOT_FIELDS and (root or node.embedded):
                    continue
                below = node.properties.get(name) or node.additional
                if below is not None:
                    where = _join(path, name, named=name in node.properties)
                    yield from self.walk(below, child, before.get(name, UNSET), where)
        elif isinstance(value, list) and node.items is not None:
            known = {key_of(node, item): item for item in old} if _relates(node, old) else {}
            for index, item in enumerate(value):
                before_item = known.get(key_of(node, item), UNSET) if known else UNSET
                yield from self.walk(node.items, item, before_item, f"{path}[{index}]")

    def _here(self, node: Structural, value: Any, old: Any, path: str, *, root: bool) -> Iterator[FieldError]:
        seen = to_cel(node, value)
        before = UNSET if old is UNSET or old is None else to_cel(node, old)
        same = before is not UNSET and equal(seen, before)
        for rule in self._rules_of(node, root):
            if rule.transition and before is UNSET and not rule.rule.optional_old_self:
                continue
            if not rule.transition and same:
                continue
            variables = {"self": seen, "oldSelf": before}
            if rule.rule.optional_old_self:
                variables["oldSelf"] = Maybe(before is not UNSET, None if before is UNSET else before)
            yield from self._one(rule, variables, node, path)
            if self._over:
                return

    def _one(self, rule: CompiledRule, variables: dict[str, Any], node: Structural, path: str) -> Iterator[FieldError]:
        budget = min(RULE_BUDGET, self._left)
        try:
            holds, left = rule.program.evaluate(variables, budget)
        except CostExceeded:
            self._over = True
            words = f"no further validation rules will be run due to call cost exceeds limit for rule: {rule.rule.rule}"
            yield _error(path, node, words, "Invalid")
            return
        except CelError as error:
            yield _error(path, node, f"{error} evaluating rule: {_words(rule.rule)}", "Invalid")
            return
        self._left -= budget - left
        if holds is not True:
            words = self._message(rule, variables)
            yield _error(_field(path, rule.rule), node, words, _REASONS.get(rule.rule.reason, "Invalid"))

    def _message(self, rule: CompiledRule, variables: dict[str, Any]) -> str:
        if rule.message is None:
            return _words(rule.rule)
        try:
            text, _ = rule.message.evaluate(variables, min(RULE_BUDGET, max(self._left, 0)))
        except CelError:
            return _words(rule.rule)
        good = isinstance(text, str) and text.strip() and "\n" not in text and len(text) <= MAX_MESSAGE
        return text.strip() if good and isinstance(text, str) else _words(rule.rule)


def _relates(node: Structural, old: Any) -> bool:
    return isinstance(old, list) and node.list_type == "map"


def _words(rule: Rule) -> str:
    return rule.message.strip() or f"failed rule: {' '.join(rule.rule.split())}"


def _error(path: str, node: Structural, words: str, kind: ErrorType) -> FieldError:
    where = path or "<nil>"
    if kind in ("Forbidden", "Required"):
        return FieldError(kind, where, words)
    shown = f'"{node.type or "object"}"'
    return FieldError(kind, where, words, shown)


def _field(path: str, rule: Rule) -> str:
    """The field a rule's ``fieldPath`` names, below ``path``."""
    below = rule.field_path.removeprefix(".") if not rule.field_path.startswith("['") else rule.field_path
    if not below:
        return path
    below = re.sub(r"\['((?:[^'\\]|\\.)*)'\]", r"[\1]", below)
    return f"{path}{below}" if below.startswith("[") else (f"{path}.{below}" if path else below)


def _join(path: str, name: str, *, named: bool) -> str:
    if not named:
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name
