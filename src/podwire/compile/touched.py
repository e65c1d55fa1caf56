"""One result a key, recomputed only for the keys that were touched.

Rules:

1. A key is touched when a source has another object for it than at the update before, or when ``also`` names it. With
   other ``inputs`` every key is. How many snapshots lie between two updates does not matter.
2. A result equal to the one before *is* the object before; None is no result.
3. ``results`` is an edition; ``touched`` are the keys made anew by the last update, ``changed`` those of them whose
   result is another object.
4. A ``make`` that fails forgets nothing: everything is made anew next time.

``tests/unit/compile_core/test_incremental.py`` holds every pass made of these against a compile without memory.
"""

from collections.abc import Callable, Mapping, Set
from typing import Any, Generic, TypeVar

from podwire.base import Edition, Finding, differences
from podwire.compile.memo import is_same

T = TypeVar("T")
Source = Mapping[str, Any]


class Results(Generic[T]):
    """Results by key; kept in a memo from compile to compile."""

    def __init__(self) -> None:
        """Nothing seen."""
        self.results: Edition[str, T] = Edition()
        self.touched: Set[str] = frozenset()
        self.changed: Set[str] = frozenset()
        self._units: dict[str, tuple[tuple[Any, ...], T]] = {}
        self._sources: tuple[Source, ...] = ()
        self._inputs: tuple[Any, ...] = ()

    def update(
        self,
        sources: tuple[Source, ...],
        inputs: tuple[Any, ...],
        make: Callable[[str], T | None],
        *,
        also: Set[str] = frozenset(),
    ) -> Edition[str, T]:
        """The results for ``sources``, mappings with the same keys. ``inputs`` is all else that ``make`` depends on; it
        is compared as the memo does."""
        self.touched = self._touched(sources, inputs) | also
        self._sources = ()
        before = self.results
        self.results = before.revise({key: kept(before.get(key), make(key)) for key in self.touched})
        self.changed = differences(before, self.results)
        for key in self.changed - self.results.keys():
            self._units.pop(key, None)
        self._sources, self._inputs = sources, inputs
        return self.results

    def unit(self, key: str, inputs: tuple[Any, ...], make: Callable[[], T | None]) -> T | None:
        """``make()``, or the result of last time while no input is another object: for results that hold a time. To be
        called by the ``make`` of :meth:`update`."""
        known = self._units.get(key)
        if known is not None and is_same(known[0], inputs):
            return known[1]
        made = make()
        if made is not None:
            self._units[key] = (inputs, made)
        return made

    def _touched(self, sources: tuple[Source, ...], inputs: tuple[Any, ...]) -> set[str]:
        if len(self._sources) != len(sources) or not is_same(self._inputs, inputs):
            return set().union(self.results, *sources)
        return set().union(*map(differences, self._sources, sources))


def kept(old: T | None, new: T | None) -> T | None:
    """``new``, or ``old`` where they are equal."""
    return old if old is not None and new is not None and old == new else new


class Findings:
    """Findings by key, and all of them as one tuple: the same object while nobody says anything else."""

    def __init__(self) -> None:
        """Nothing was said."""
        self.all: tuple[Finding, ...] = ()
        self._by_key: Edition[str, tuple[Finding, ...]] = Edition()

    def update(self, changes: Mapping[str, tuple[Finding, ...]]) -> tuple[Finding, ...]:
        """Replace what is said by some keys."""
        before = self._by_key
        self._by_key = before.revise({key: kept(before.get(key), found) or None for key, found in changes.items()})
        if self._by_key is not before:
            self.all = tuple(finding for found in self._by_key.values() for finding in found)
        return self.all


class Seen(Generic[T]):
    """The mapping looked at last, and how the next one differs."""

    def __init__(self) -> None:
        """Nothing seen."""
        self.value: Mapping[str, T] = {}

    def advance(self, value: Mapping[str, T]) -> Set[str]:
        """Keys that have another object than in the mapping before."""
        changed = differences(self.value, value)
        self.value = value
        return changed
