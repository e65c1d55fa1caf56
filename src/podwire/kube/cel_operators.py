"""Operators of the Common Expression Language, as closures.

``&&`` and ``||`` absorb errors: an operand that decides wins over one that fails. Spec: cel-spec doc/langdef.md.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from podwire.kube.cel_env import Compiles, CostExceeded, Env, Run, no_overload, sized
from podwire.kube.cel_parse import Call
from podwire.kube.cel_types import BOOL, DYN, Decl, unescape
from podwire.kube.cel_values import (
    NOTHING,
    CelError,
    Maybe,
    add,
    compare,
    divide,
    equal,
    kind_of,
    modulo,
    multiply,
    ranged,
    subtract,
)

Operator = Callable[[Compiles, Call], tuple[Run, Decl]]

_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "_+_": add,
    "_-_": subtract,
    "_*_": multiply,
    "_/_": divide,
    "_%_": modulo,
}
_ORDER: Mapping[str, Callable[[int], bool]] = {
    "_<_": lambda sign: sign < 0,
    "_<=_": lambda sign: sign <= 0,
    "_>_": lambda sign: sign > 0,
    "_>=_": lambda sign: sign >= 0,
}
_ADDABLE = frozenset({"int", "uint", "double", "string", "bytes", "list", "duration", "timestamp"})
_NUMBERS = frozenset({"int", "uint", "double"})
_ORDERED = _NUMBERS | {"string", "bytes", "bool", "timestamp", "duration"}


def pick(value: Any, key: Any) -> Maybe:
    """``value.?key`` and ``value[?key]``."""
    if type(value) is Maybe:
        if not value.present:
            return NOTHING
        value = value.value
    if isinstance(value, list):
        fits = isinstance(key, int | float) and not isinstance(key, bool) and key == int(key) and 0 <= key < len(value)
        return Maybe(True, value[int(key)]) if fits else NOTHING
    if type(value) is not dict:
        raise CelError("no such overload")
    name = map_key(key)
    if name not in value and isinstance(name, str):
        name = unescape(name)
    return Maybe(True, value[name]) if name in value else NOTHING


def map_key(value: Any) -> Any:
    """A key as maps take it. Raises :class:`CelError`."""
    if isinstance(value, dict | list):
        raise CelError(f"unsupported key type: {kind_of(value)}")
    return value


def _logic(compiler: Compiles, node: Call, *, stop: bool) -> tuple[Run, Decl]:
    """``&&`` (stops at false) and ``||`` (stops at true); an error counts only when nothing stops."""
    parts = [compiler.compile(arg) for arg in node.args]
    for _, kind in parts:
        if kind.kind not in ("bool", "dyn"):
            raise no_overload(node.function, [kind for _, kind in parts])
    runs = [run for run, _ in parts]

    def run(env: Env) -> bool:
        failed: CelError | None = None
        for part in runs:
            try:
                value = part(env)
            except CostExceeded:
                raise
            except CelError as error:
                failed = error
                continue
            if type(value) is not bool:
                failed = CelError("no such overload")
            elif value == stop:
                return stop
        if failed is not None:
            raise failed
        return not stop

    return run, BOOL


def _conditional(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    (test, kind), (then, yes), (other, no) = (compiler.compile(arg) for arg in node.args)
    if kind.kind not in ("bool", "dyn"):
        raise no_overload(node.function, [kind, yes, no])

    def run(env: Env) -> Any:
        chosen = test(env)
        if chosen is True:
            return then(env)
        if chosen is False:
            return other(env)
        raise CelError("no such overload")

    return run, yes if str(yes) == str(no) else DYN


def _negate(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    operand, kind = compiler.compile(node.args[0])
    wanted = {"bool"} if node.function == "!_" else {"int", "double"}
    if kind.kind != "dyn" and kind.kind not in wanted:
        raise no_overload(node.function, [kind])

    def invert(env: Env) -> bool:
        value = operand(env)
        if type(value) is not bool:
            raise CelError("no such overload")
        return not value

    def minus(env: Env) -> Any:
        value = operand(env)
        if type(value) is float:
            return -value
        if type(value) is not int:
            raise CelError("no such overload")
        return ranged(-value, False)

    return (invert, BOOL) if node.function == "!_" else (minus, kind)


def _calculate(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    (left, a), (right, b) = (compiler.compile(arg) for arg in node.args)
    work = _ARITHMETIC[node.function]
    allowed = _ADDABLE if node.function in ("_+_", "_-_") else _NUMBERS
    known = a.kind != "dyn" and b.kind != "dyn"
    mixed = a.kind != b.kind and {a.kind, b.kind} != {"timestamp", "duration"}
    if known and (mixed or a.kind not in allowed):
        raise no_overload(node.function, [a, b])
    grows = node.function == "_+_"

    def run(env: Env) -> Any:
        one, two = left(env), right(env)
        if grows:
            env.spend((sized(one) + sized(two)) // 10)
        return work(one, two)

    if a.kind == b.kind == "timestamp":
        return run, Decl("duration")
    return run, a if a.kind in (b.kind, "timestamp") else (b if b.kind == "timestamp" else DYN)


def _compared(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    (left, a), (right, b) = (compiler.compile(arg) for arg in node.args)
    known = a.kind != "dyn" and b.kind != "dyn"
    numbers = a.kind in _NUMBERS and b.kind in _NUMBERS
    if node.function in _ORDER:
        if known and not numbers and (a.kind != b.kind or a.kind not in _ORDERED):
            raise no_overload(node.function, [a, b])
        holds = _ORDER[node.function]
        return lambda env: holds(compare(left(env), right(env))), BOOL
    if known and not numbers and a.kind != b.kind and "null" not in (a.kind, b.kind):
        raise no_overload(node.function, [a, b])
    wanted = node.function == "_==_"

    def run(env: Env) -> bool:
        one, two = left(env), right(env)
        env.spend(min(sized(one), sized(two)) // 10)
        return equal(one, two) is wanted

    return run, BOOL


def _within(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    (item, _), (container, kind) = (compiler.compile(arg) for arg in node.args)
    if kind.kind not in ("list", "map", "dyn"):
        raise no_overload("@in", [DYN, kind])

    def run(env: Env) -> bool:
        value, held = item(env), container(env)
        if isinstance(held, list):
            env.spend(len(held))
            return any(equal(value, other) for other in held)
        if type(held) is dict:
            return map_key(value) in held
        raise CelError("no such overload")

    return run, BOOL


def _index(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    (operand, kind), (key, by) = (compiler.compile(arg) for arg in node.args)
    if kind.kind not in ("list", "map", "dyn", "optional"):
        raise no_overload("_[_]", [kind, by])
    below = kind.item or DYN
    if node.function == "_[?_]" or kind.kind == "optional":
        return lambda env: pick(operand(env), key(env)), Decl("optional", below)

    def run(env: Env) -> Any:
        value, at = operand(env), key(env)
        if isinstance(value, list):
            if type(at) is bool or not isinstance(at, int | float) or at != int(at):
                raise CelError("no such overload")
            if not 0 <= at < len(value):
                raise CelError(f"index out of bounds: {int(at)}")
            return value[int(at)]
        if type(value) is dict:
            if map_key(at) not in value:
                raise CelError(f"no such key: {at}")
            return value[at]
        raise CelError("no such overload")

    return run, below


OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "_&&_": lambda compiler, node: _logic(compiler, node, stop=False),
        "_||_": lambda compiler, node: _logic(compiler, node, stop=True),
        "_?_:_": _conditional,
        "!_": _negate,
        "-_": _negate,
        **dict.fromkeys(_ARITHMETIC, _calculate),
        **dict.fromkeys(_ORDER, _compared),
        "_==_": _compared,
        "_!=_": _compared,
        "@in": _within,
        "_[_]": _index,
        "_[?_]": _index,
    }
)
"""By the name the parser gives them."""
