"""List and set functions Kubernetes adds to CEL: lists (library and version 3), sets, maps.

Spec: k8s apiserver/pkg/cel/library/lists.go; cel-go ext/{sets,lists}.go.
"""

from collections.abc import Callable, Mapping
from functools import cmp_to_key
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from podwire.kube.cel_functions import Function, overload
from podwire.kube.cel_values import NOTHING, CelError, Maybe, add, compare, equal, kind_of

MAX_RANGE = 100_000


def _sorted(items: list[Any]) -> bool:
    return all(compare(a, b) <= 0 for a, b in pairwise(items))


def _sum(items: list[Any]) -> Any:
    total: Any = None
    for item in items:
        total = item if total is None else add(total, item)
    if total is not None and kind_of(total) not in ("int", "uint", "double", "duration"):
        raise CelError("no such overload")
    return 0 if total is None else total


def _extreme(name: str, sign: int) -> Callable[[list[Any]], Any]:
    def find(items: list[Any]) -> Any:
        if not items:
            raise CelError(f"{name} called on empty list")
        best = items[0]
        for item in items[1:]:
            if compare(item, best) * sign > 0:
                best = item
        return best

    return find


def _index_of(items: list[Any], wanted: Any) -> int:
    return next((at for at, item in enumerate(items) if equal(item, wanted)), -1)


def _last_index_of(items: list[Any], wanted: Any) -> int:
    return next((at for at in range(len(items) - 1, -1, -1) if equal(items[at], wanted)), -1)


def _contains_all(items: list[Any], wanted: list[Any]) -> bool:
    if len(items) * len(wanted) > 4_000_000:
        raise CelError("operation cancelled: actual cost limit exceeded")
    return all(any(equal(item, other) for other in items) for item in wanted)


def _intersects(items: list[Any], others: list[Any]) -> bool:
    return any(_contains_all(others, [item]) for item in items)


def _distinct(items: list[Any]) -> list[Any]:
    found: list[Any] = []
    if len(items) > 2000:
        raise CelError("operation cancelled: actual cost limit exceeded")
    for item in items:
        if not any(equal(item, other) for other in found):
            found.append(item)
    return found


def _flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if not 0 <= depth <= 16:
        raise CelError("flatten: level must be non-negative and small")
    found: list[Any] = []
    for item in items:
        if isinstance(item, list) and depth:
            found.extend(_flatten(item, depth - 1))
        else:
            found.append(item)
    return found


def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    if not 0 <= start <= end <= len(items):
        raise CelError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return items[start:end]


def _range(count: int) -> list[int]:
    if count > MAX_RANGE:
        raise CelError("operation cancelled: actual cost limit exceeded")
    return list(range(count))


def _edge(items: list[Any], at: int) -> Any:
    return Maybe(True, items[at]) if items else NOTHING


LISTS: Mapping[str, Function] = MappingProxyType(
    {
        "isSorted": (overload("list.>bool", _sorted),),
        "sum": (overload("list.>item", _sum),),
        "min": (overload("list.>item", _extreme("min", -1)),),
        "max": (overload("list.>item", _extreme("max", 1)),),
        "indexOf": (overload("list.any>int", _index_of),),
        "lastIndexOf": (overload("list.any>int", _last_index_of),),
        "includes": (overload("list.any>bool", lambda items, wanted: _index_of(items, wanted) >= 0),),
        "sets.contains": (overload("list,list>bool", _contains_all),),
        "sets.equivalent": (overload("list,list>bool", lambda a, b: _contains_all(a, b) and _contains_all(b, a)),),
        "sets.intersects": (overload("list,list>bool", _intersects),),
        "distinct": (overload("list.>list", _distinct),),
        "flatten": (overload("list.>list", _flatten), overload("list.int>list", _flatten)),
        "lists.range": (overload("int>list", _range),),
        "reverse": (overload("list.>list", lambda items: items[::-1]),),
        "slice": (overload("list.int,int>list", _slice),),
        "sort": (overload("list.>list", lambda items: sorted(items, key=cmp_to_key(compare))),),
        "first": (overload("list.>optional", lambda items: _edge(items, 0)),),
        "last": (overload("list.>optional", lambda items: _edge(items, -1)),),
    }
)
"""By name; merged with the others in ``cel_table``."""
