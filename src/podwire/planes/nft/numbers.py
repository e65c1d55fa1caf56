"""The numbers of :func:`podwire.base.assign_numbers`, kept up to date as keys come and go.

Rule: after any sequence of changes the numbers equal ``assign_numbers`` of the keys. A key whose natural number is free
moves nobody, and a key that leaves moves only keys that were pushed past its number; otherwise all are assigned anew.
"""

from collections.abc import Set

from podwire.base import assign_numbers


class Numbers:
    """Distinct 20-bit numbers of a changing set of keys: ``known``, to be read only."""

    def __init__(self) -> None:
        """No keys yet."""
        self.known: dict[str, int] = {}
        self._taken: set[int] = set()
        self._displaced: dict[str, int] = {}

    def change(self, *, gone: Set[str], new: Set[str]) -> set[str]:
        """Without ``gone``, with ``new``, whether they were there or not; keys that were there and have another number
        now."""
        gone, new = gone & self.known.keys(), new - self.known.keys()
        if not gone and not new:
            return set()
        if len(new) <= len(self.known) // 8 and self._adjust(gone, new):
            return set()
        before = self.known
        self._assign_all((before.keys() - gone) | new)
        return {key for key, number in self.known.items() if before.get(key, number) != number}

    def _adjust(self, gone: Set[str], new: Set[str]) -> bool:
        natural = {key: assign_numbers([key])[key] for key in new}
        left = {self.known[key] for key in gone}
        wanted = set(natural.values())
        free = not any(number in self._taken and number not in left for number in wanted)
        if len(wanted) < len(new) or not free or self._moves(left):
            return False
        for key in gone:
            del self.known[key]
            self._displaced.pop(key, None)
        self.known.update(natural)
        self._taken -= left
        self._taken |= wanted
        return True

    def _moves(self, left: set[int]) -> bool:
        """Whether a displaced key was pushed past one of the numbers that became free."""
        return any(
            natural > self.known[key] or any(natural <= number <= self.known[key] for number in left)
            for key, natural in self._displaced.items()
        )

    def _assign_all(self, keys: Set[str]) -> None:
        self.known = assign_numbers(keys)
        self._taken = set(self.known.values())
        natural = {key: assign_numbers([key])[key] for key in self.known}
        self._displaced = {key: number for key, number in natural.items() if number != self.known[key]}
