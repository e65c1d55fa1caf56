"""The numbers of :func:`podwire.base.assign_numbers`, kept up to date as keys come and go.

Rule: after any sequence of updates the numbers equal ``assign_numbers(keys)``. A key whose natural number is free
moves nobody, and a key that leaves moves only keys that were pushed past its number; otherwise all are assigned anew.
"""

from collections.abc import Set

from podwire.base import assign_numbers


class Numbers:
    """Distinct 20-bit numbers of a changing set of keys."""

    def __init__(self) -> None:
        """No keys yet."""
        self._numbers: dict[str, int] = {}
        self._taken: set[int] = set()
        self._displaced: dict[str, int] = {}

    def update(self, keys: Set[str]) -> dict[str, int]:
        """Number exactly ``keys``. The answer must not be changed by the caller."""
        if self._numbers.keys() == keys:
            return self._numbers
        gone, new = self._numbers.keys() - keys, keys - self._numbers.keys()
        if len(new) > len(self._numbers) // 8 or not self._adjust(gone, new):
            self._assign_all(keys)
        return self._numbers

    def _adjust(self, gone: Set[str], new: Set[str]) -> bool:
        natural = {key: assign_numbers([key])[key] for key in new}
        left = {self._numbers[key] for key in gone}
        wanted = set(natural.values())
        if len(wanted) < len(new) or not wanted.isdisjoint(self._taken - left) or self._moves(left):
            return False
        numbers = {key: number for key, number in self._numbers.items() if key not in gone}
        numbers.update(natural)
        self._numbers, self._taken = numbers, (self._taken - left) | wanted
        return True

    def _moves(self, left: set[int]) -> bool:
        """Whether a displaced key was pushed past one of the numbers that became free."""
        return any(
            natural > self._numbers[key] or any(natural <= number <= self._numbers[key] for number in left)
            for key, natural in self._displaced.items()
        )

    def _assign_all(self, keys: Set[str]) -> None:
        self._numbers = assign_numbers(keys)
        self._taken = set(self._numbers.values())
        natural = {key: assign_numbers([key])[key] for key in self._numbers}
        self._displaced = {key: number for key, number in natural.items() if number != self._numbers[key]}
