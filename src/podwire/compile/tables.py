"""One derived value per object of a kind, kept while the object is the same one.

Cheaper than a unit of the memo for values that depend on a single object and are needed for every object in every
compile. A table lives in the memo itself (``memo.unit(key, (), lambda: Table(make))``).
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from podwire.kube import KubeObject

T = TypeVar("T", bound=KubeObject)
U = TypeVar("U")


class Table(Generic[T, U]):
    """Values by uid; what is not asked for in one :meth:`update` is forgotten by the next."""

    def __init__(self, make: Callable[[T], U]) -> None:
        """``make`` must be a function of the object alone."""
        self._make = make
        self._known: dict[str, tuple[T, U]] = {}

    def update(self, objects: Iterable[T]) -> tuple[U, ...]:
        """The value of each object, in order. A value equal to the one before is the same object."""
        known, fresh = self._known, dict[str, tuple[T, U]]()
        for item in objects:
            uid = item.metadata.uid
            entry = known.get(uid)
            if entry is None or entry[0] is not item:
                value = self._make(item)
                entry = (item, entry[1] if entry is not None and entry[1] == value else value)
            fresh[uid] = entry
        self._known = fresh
        return tuple(value for _, value in fresh.values())
