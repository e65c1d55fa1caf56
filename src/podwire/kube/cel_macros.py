"""Macros of the Common Expression Language: ``has``, comprehensions over lists and maps, optional mapping.

1. ``all`` and ``exists`` absorb errors as ``&&`` and ``||`` do.
2. With two variables they are index and value of a list, key and value of a map.
3. Each iteration pays for its body (``cel_env``).

Spec: cel-go common/parser macros, ext/comprehensions.go (two variables), ext/lists.go (sortBy).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cmp_to_key
from types import MappingProxyType
from typing import Any

from podwire.kube.cel_env import CompileError, Compiles, CostExceeded, Env, Run
from podwire.kube.cel_operators import pick
from podwire.kube.cel_parse import Call, Name, Node, Select, size_of
from podwire.kube.cel_types import BOOL, DYN, INT, STRING, Decl, unescape
from podwire.kube.cel_values import NOTHING, CelError, Maybe, compare, kind_of

Macro = Callable[[Compiles, Call], "tuple[Run, Decl] | None"]
Step = Callable[[Env], Iterator[Env]]


def _has(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    wanted = node.args[0]
    if not isinstance(wanted, Select):
        raise CompileError("invalid argument to has() macro")
    operand, kind = compiler.compile(wanted.operand)
    field, plain = wanted.field, unescape(wanted.field)
    if kind.kind == "map" and kind.fields is not None and field not in kind.fields:
        raise CompileError(f"undefined field '{field}'")
    if kind.kind not in ("map", "dyn", "optional"):
        raise CompileError(f"type '{kind}' does not support field selection")

    def run(env: Env) -> bool:
        value = operand(env)
        if type(value) is Maybe:
            return pick(value, field).present
        if type(value) is not dict:
            raise CelError(f"type '{kind_of(value)}' does not support field selection")
        return field in value or plain in value

    return run, BOOL


def _names(node: Call, count: int) -> tuple[str, ...]:
    names = []
    for part in node.args[:count]:
        if not isinstance(part, Name):
            raise CompileError(f"argument must be a simple name in {node.function}()")
        names.append(part.name)
    return tuple(names)


class _Loop:
    """A range and its variables, with the bodies compiled in their scope."""

    def __init__(self, compiler: Compiles, node: Call, count: int) -> None:
        assert node.target is not None
        self.names = _names(node, count)
        self._range, kind = compiler.compile(node.target)
        if kind.kind not in ("list", "map", "dyn", "optional"):
            raise CompileError(
                f"expression of type '{kind}' cannot be range of a comprehension (must be list, map, or dynamic)"
            )
        self.kind = kind
        kinds = _variables(kind, count)
        with bound(compiler, dict(zip(self.names, kinds, strict=True))) as self.slots:
            self.bodies = [compiler.compile(part) for part in node.args[count:]]
        self._cost = 1 + sum(size_of(part) for part in node.args[count:])

    def each(self, env: Env) -> Iterator[Any]:
        """Set the variables for each item; yields the item (the key of a map with one variable)."""
        held = self._range(env)
        if isinstance(held, list):
            pairs: Iterator[tuple[Any, Any]] = iter(enumerate(held))
        elif type(held) is dict:
            pairs = iter(held.items())
        else:
            raise CelError("no such overload")
        cost, slots, variables = self._cost, self.slots, env.vars
        two, keys = len(slots) == 2, type(held) is dict
        for key, value in pairs:
            env.spend(cost)
            if two:
                variables[slots[0]], variables[slots[1]] = key, value
            else:
                variables[slots[0]] = key if keys else value
            yield key if keys else value


@contextmanager
def bound(compiler: Compiles, variables: dict[str, Decl]) -> Iterator[tuple[str, ...]]:
    """Variables in scope while their bodies are compiled; yields the slots they live in when the expression runs.

    Slots are used once in an expression, so loops need not restore what they hide.
    """
    hidden = dict(compiler.scope)
    slots = tuple(f"{name}#{compiler.fresh()}" for name in variables)
    compiler.scope.update({name: (slot, kind) for (name, kind), slot in zip(variables.items(), slots, strict=True)})
    yield slots
    compiler.scope.clear()
    compiler.scope.update(hidden)


def _variables(kind: Decl, count: int) -> tuple[Decl, ...]:
    item = kind.item or DYN
    match kind.kind:
        case "list":
            return (item,) if count == 1 else (INT, item)
        case "map":
            return (STRING,) if count == 1 else (STRING, DYN if kind.fields is not None else item)
        case _:
            return (DYN,) * count


def _boolean(node: Node, kind: Decl) -> None:
    if kind.kind not in ("bool", "dyn"):
        raise CompileError(f"expected type 'bool' but found '{kind}'")


def _quantified(compiler: Compiles, node: Call, *, stop: bool) -> tuple[Run, Decl]:
    """``all`` stops at false, ``exists`` at true."""
    loop = _Loop(compiler, node, len(node.args) - 1)
    ((body, kind),) = loop.bodies
    _boolean(node, kind)

    def run(env: Env) -> bool:
        failed: CelError | None = None
        for _ in loop.each(env):
            try:
                value = body(env)
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


def _exists_one(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    loop = _Loop(compiler, node, len(node.args) - 1)
    ((body, kind),) = loop.bodies
    _boolean(node, kind)
    return lambda env: sum(_true(body(env)) for _ in loop.each(env)) == 1, BOOL


def _true(value: Any) -> bool:
    if type(value) is not bool:
        raise CelError("no such overload")
    return value


def _filter(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    loop = _Loop(compiler, node, 1)
    ((body, kind),) = loop.bodies
    _boolean(node, kind)
    item = _variables(loop.kind, 1)[0]
    return lambda env: [item for item in loop.each(env) if _true(body(env))], Decl("list", item)


def _listed(compiler: Compiles, node: Call, count: int) -> tuple[Run, Decl]:
    """``map(x, [condition,] value)`` and ``transformList(k, v, [condition,] value)``."""
    loop = _Loop(compiler, node, count)
    body, kind = loop.bodies[-1]
    if len(loop.bodies) == 1:
        return lambda env: [body(env) for _ in loop.each(env)], Decl("list", kind)
    test, shown = loop.bodies[0]
    _boolean(node, shown)
    return lambda env: [body(env) for _ in loop.each(env) if _true(test(env))], Decl("list", kind)


def _transform_map(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    loop = _Loop(compiler, node, 2)
    body, kind = loop.bodies[-1]
    test = loop.bodies[0][0] if len(loop.bodies) == 2 else None
    key = loop.slots[0]

    def run(env: Env) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for _ in loop.each(env):
            if test is None or _true(test(env)):
                found[env.vars[key]] = body(env)
        return found

    return run, Decl("map", kind)


def _transform_entries(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    loop = _Loop(compiler, node, 2)
    body = loop.bodies[-1][0]
    test = loop.bodies[0][0] if len(loop.bodies) == 2 else None

    def run(env: Env) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for _ in loop.each(env):
            made = body(env) if test is None or _true(test(env)) else {}
            for key in made:
                if key in found:
                    raise CelError(f"insert failed: key {key} already exists")
            found.update(made)
        return found

    return run, Decl("map", DYN)


def _sort_by(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    loop = _Loop(compiler, node, 1)
    ((body, _),) = loop.bodies

    def run(env: Env) -> list[Any]:
        pairs = [(body(env), item) for item in loop.each(env)]
        env.spend(len(pairs) * 4)
        return [item for _, item in sorted(pairs, key=cmp_to_key(_by_first))]

    return run, Decl("list", loop.kind.item or DYN)


def _by_first(left: tuple[Any, Any], right: tuple[Any, Any]) -> int:
    return compare(left[0], right[0])


def _opt_map(compiler: Compiles, node: Call) -> tuple[Run, Decl]:
    """``optional.optMap(x, value)`` and ``optFlatMap``."""
    assert node.target is not None
    (name,) = _names(node, 1)
    source, kind = compiler.compile(node.target)
    with bound(compiler, {name: kind.item or DYN}) as (slot,):
        body, made = compiler.compile(node.args[1])
    flat = node.function == "optFlatMap"

    def run(env: Env) -> Any:
        held = source(env)
        if type(held) is not Maybe:
            raise CelError("no such overload")
        if not held.present:
            return NOTHING
        env.vars[slot] = held.value
        value = body(env)
        return value if flat else Maybe(True, value)

    return run, made if flat else Decl("optional", made)


MACROS: Mapping[tuple[str, bool, int], Macro] = MappingProxyType(
    {
        ("has", False, 1): _has,
        **{("all", True, n): lambda c, node: _quantified(c, node, stop=False) for n in (2, 3)},
        **{("exists", True, n): lambda c, node: _quantified(c, node, stop=True) for n in (2, 3)},
        **{(name, True, n): _exists_one for name in ("exists_one", "existsOne") for n in (2, 3)},
        ("filter", True, 2): _filter,
        **{("map", True, n): lambda c, node: _listed(c, node, 1) for n in (2, 3)},
        **{("transformList", True, n): lambda c, node: _listed(c, node, 2) for n in (3, 4)},
        **{("transformMap", True, n): _transform_map for n in (3, 4)},
        **{("transformMapEntry", True, n): _transform_entries for n in (3, 4)},
        ("sortBy", True, 2): _sort_by,
        ("optMap", True, 2): _opt_map,
        ("optFlatMap", True, 2): _opt_map,
    }
)
"""By name, whether it is a method, and number of arguments."""
