"""The Common Expression Language: syntax trees to Python closures, with types where they are known, and a cost budget.

1. What can be told before running is told when compiling: undeclared names, unknown functions, fields an object does
   not have, operands no overload takes. The words are those of cel-go.
2. ``&&``, ``||``, ``all`` and ``exists`` absorb errors as the language says.
3. Every evaluation has a budget. One node costs one unit, paid per iteration in comprehensions; functions pay for the
   size of what they read and make. Beyond the budget evaluation stops with :class:`CostExceeded`, so a rule cannot hold
   up the server: a unit takes less than a microsecond.

Why not a library: docs/lab/2026-11-24-cel-and-patterns.md.
Spec: cel-spec doc/langdef.md; cel-go checker, ext/comprehensions.go, common/types/optional.go; KEP-2876 (costs).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from podwire.kube.cel_env import CompileError, Env, Run, no_overload, sized
from podwire.kube.cel_functions import Function, Overload
from podwire.kube.cel_macros import MACROS
from podwire.kube.cel_operators import OPERATORS, map_key, pick
from podwire.kube.cel_parse import Call, CelSyntaxError, ListOf, Literal, MapOf, Name, Node, Select, parse, size_of
from podwire.kube.cel_table import FUNCTIONS
from podwire.kube.cel_types import DYN, Decl, unescape
from podwire.kube.cel_values import CelError, Maybe, TypeOf, kind_of, ranged

TYPES = frozenset(["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"])
DEFAULT_BUDGET = 1_000_000


class Program(msgspec.Struct, frozen=True):
    """A compiled expression and the type of its result."""

    text: str
    type: Decl
    run: Run
    size: int

    def evaluate(self, variables: Mapping[str, Any], budget: int = DEFAULT_BUDGET) -> tuple[Any, int]:
        """The value, and what is left of the budget. Raises :class:`CelError`."""
        env = Env(dict(variables), budget)
        env.spend(self.size)
        try:
            return self.run(env), env.left
        except RecursionError as error:
            raise CelError("the data is nested too deep") from error


def compile_expression(text: str, variables: Mapping[str, Decl]) -> Program:
    """Compile ``text`` over these variables. Raises :class:`CompileError`."""
    try:
        tree = parse(text)
    except CelSyntaxError as error:
        raise CompileError(str(error)) from error
    run, kind = Compiler(variables).compile(tree)
    return Program(text, kind, run, size_of(tree))


class Compiler:
    """One expression's scope."""

    def __init__(self, variables: Mapping[str, Decl]) -> None:
        """``variables`` are in scope everywhere."""
        self.scope = {name: (name, kind) for name, kind in variables.items()}
        self._slots = 0

    def fresh(self) -> int:
        """A number not used yet in this expression."""
        self._slots += 1
        return self._slots

    def compile(self, node: Node) -> tuple[Run, Decl]:
        """A closure and the type of its value."""
        match node:
            case Literal():
                value = _checked(node.value)
                return lambda env: value, Decl(kind_of(value))
            case Name():
                return self._name(node.name)
            case Select():
                return self._select(node)
            case ListOf():
                return self._list(node)
            case MapOf():
                return self._map(node)
            case Call():
                return self._call(node)

    def _name(self, name: str) -> tuple[Run, Decl]:
        found = self.scope.get(name)
        if found is not None:
            slot, kind = found
            return lambda env: env.vars[slot], kind
        if name in TYPES:
            value = TypeOf(name)
            return lambda env: value, Decl("type")
        raise CompileError(f"undeclared reference to '{name}' (in container '')")

    def _select(self, node: Select) -> tuple[Run, Decl]:
        operand, kind = self.compile(node.operand)
        field = node.field
        if node.optional or kind.kind == "optional":
            below = field_type(kind.item or DYN if kind.kind == "optional" else kind, field)
            return lambda env: pick(operand(env), field), Decl("optional", below)
        found = field_type(kind, field)
        plain = unescape(field)

        def run(env: Env) -> Any:
            value = operand(env)
            if type(value) is dict:
                if field in value:
                    return value[field]
                if plain in value:
                    return value[plain]
                raise CelError(f"no such key: {field}")
            if type(value) is Maybe:
                return pick(value, field)
            raise CelError(f"type '{kind_of(value)}' does not support field selection")

        return run, found

    def _list(self, node: ListOf) -> tuple[Run, Decl]:
        parts = [(*self.compile(item), optional) for item, optional in node.items]
        if not any(optional for _, _, optional in parts):
            runs = [run for run, _, _ in parts]
            kinds = {str(kind) for _, kind, _ in parts}
            return lambda env: [run(env) for run in runs], Decl("list", parts[0][1] if len(kinds) == 1 else DYN)

        def run(env: Env) -> list[Any]:
            found = []
            for part, _, optional in parts:
                value = part(env)
                if not optional:
                    found.append(value)
                elif value.present:
                    found.append(value.value)
            return found

        return run, Decl("list", DYN)

    def _map(self, node: MapOf) -> tuple[Run, Decl]:
        parts = [(self.compile(k)[0], self.compile(v)[0], optional) for k, v, optional in node.entries]

        def run(env: Env) -> dict[Any, Any]:
            found: dict[Any, Any] = {}
            for key, value, optional in parts:
                made = value(env)
                name = map_key(key(env))
                if name in found:
                    raise CelError(f"Failed with repeated key: {name}")
                if not optional:
                    found[name] = made
                elif made.present:
                    found[name] = made.value
            return found

        return run, Decl("map", DYN)

    def _call(self, node: Call) -> tuple[Run, Decl]:
        macro = MACROS.get((node.function, node.target is not None, len(node.args)))
        if macro is not None:
            made = macro(self, node)
            if made is not None:
                run, kind = made
                return run, kind
        special = OPERATORS.get(node.function)
        if special is not None:
            return special(self, node)
        name, args = self._resolve(node)
        parts = [self.compile(arg) for arg in args]
        function = FUNCTIONS.get(name)
        if function is None:
            raise CompileError(f"undeclared reference to '{name}' (in container '')")
        fitting = _fitting(function, [kind for _, kind in parts], method=len(args) > len(node.args))
        if not fitting:
            raise no_overload(name, [kind for _, kind in parts], method=len(args) > len(node.args))
        results = {overload.result for overload in fitting}
        kind = _result(results.pop(), parts) if len(results) == 1 else DYN
        return _invoke(name, function, [run for run, _ in parts]), kind

    def _resolve(self, node: Call) -> tuple[str, tuple[Node, ...]]:
        """The function meant: ``sets.contains`` is a name, ``self.contains`` a method."""
        target = node.target
        if target is None:
            return node.function, node.args
        if isinstance(target, Name) and target.name not in self.scope and f"{target.name}.{node.function}" in FUNCTIONS:
            return f"{target.name}.{node.function}", node.args
        return node.function, (target, *node.args)


def _result(name: str, parts: list[tuple[Run, Decl]]) -> Decl:
    """``item`` is what the first argument holds, ``same`` the first argument's type."""
    first = parts[0][1] if parts else DYN
    match name:
        case "same":
            return first
        case "item":
            return first.item or DYN
        case "list":
            return Decl("list", first.item if first.kind == "list" else DYN)
        case _:
            return Decl(name)


def field_type(kind: Decl, field: str) -> Decl:
    """The type of ``value.field``. Raises :class:`CompileError`."""
    if kind.kind == "dyn":
        return DYN
    if kind.kind != "map":
        raise CompileError(f"type '{kind}' does not support field selection")
    if kind.fields is None:
        return kind.item or DYN
    found = kind.fields.get(field)
    if found is None:
        raise CompileError(f"undefined field '{field}'")
    return found


def _checked(value: Any) -> Any:
    if type(value) is int:
        try:
            ranged(value, False)
        except CelError as error:
            raise CompileError(f"invalid int literal: {value}") from error
    return value


def _fitting(function: Function, kinds: list[Decl], *, method: bool) -> list[Overload]:
    return [
        overload
        for overload in function
        if overload.method in (None, method)
        and len(overload.args) == len(kinds)
        and all(want == "any" or kind.kind in ("dyn", want) for want, kind in zip(overload.args, kinds, strict=True))
    ]


def _invoke(name: str, function: Function, runs: list[Run]) -> Run:
    table = {overload.args: overload.run for overload in function if "any" not in overload.args}
    loose = [overload for overload in function if "any" in overload.args]

    def run(env: Env) -> Any:
        values = [part(env) for part in runs]
        kinds = tuple(kind_of(value) for value in values)
        env.spend(sum(sized(value) for value in values) // 10)
        work = table.get(kinds)
        if work is None:
            work = next((o.run for o in loose if _takes(o.args, kinds)), None)
        if work is None:
            raise CelError(f"no such overload: {name}({', '.join(kinds)})")
        value = work(*values)
        env.spend(sized(value) // 10)
        return value

    return run


def _takes(wanted: tuple[str, ...], kinds: tuple[str, ...]) -> bool:
    return len(wanted) == len(kinds) and all(w in ("any", k) for w, k in zip(wanted, kinds, strict=True))
