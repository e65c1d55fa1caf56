"""Recompute a unit only when one of its inputs is another object than last time."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Memo:
    """Remembers units by key with the inputs they were made from; inputs are compared by identity.

    Inputs are snapshot objects or earlier units (shared while unchanged) or small values; str, int, float, bool, tuple
    and None are compared by equality. Keys not asked for during one compile are dropped at its end.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._units: dict[str, tuple[tuple[Any, ...], Any]] = {}
        self._used: set[str] = set()

    def unit(self, key: str, inputs: tuple[Any, ...], make: Callable[[], T]) -> T:
        """``make()``, or what it returned last time for the same key and inputs.

        When new inputs give an equal unit the *old object* is returned: drivers diff by identity.
        """
        self._used.add(key)
        known = self._units.get(key)
        if known is not None and len(known[0]) == len(inputs) and all(map(is_same, known[0], inputs)):
            return cast(T, known[1])
        made = make()
        if known is not None and known[1] == made:
            made = known[1]
        self._units[key] = (inputs, made)
        return made

    def last(self, key: str) -> Any:
        """What :meth:`unit` returned for this key in the compile before, or None: for what must survive wrong input."""
        known = self._units.get(key)
        return None if known is None else known[1]

    def sweep(self) -> None:
        """End of a compile: drop units nobody asked for."""
        if len(self._used) != len(self._units):
            self._units = {key: value for key, value in self._units.items() if key in self._used}
        self._used = set()


def is_same(old: Any, new: Any) -> bool:
    """Whether an input is the one of last time (see :class:`Memo`)."""
    if old is new:
        return True
    if isinstance(old, tuple) and isinstance(new, tuple):
        return len(old) == len(new) and all(map(is_same, old, new))
    return isinstance(old, str | int | float | None) and type(old) is type(new) and old == new
