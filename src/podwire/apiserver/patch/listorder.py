"""The order of a merged list.

Items named by the patch keep the patch's order, the server's own keep the live order, and the two are interleaved by
the live order where it knows both. Spec: strategicpatch/patch.go normalizeElementOrder, mergeSortedSlice.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def arrange(keys: Sequence[K], wanted: Sequence[K], live: Mapping[K, int]) -> list[K]:
    """``keys`` in order: ``wanted`` is the order asked for, ``live`` the place each had before."""
    rank = {key: index for index, key in reversed(list(enumerate(wanted)))}
    asked = sorted((key for key in keys if key in rank), key=lambda key: rank[key])
    others = sorted((key for key in keys if key not in rank), key=lambda key: live.get(key, len(live)))
    out: list[K] = []
    i = j = 0
    while i < len(others) and j < len(asked):
        left, right = live.get(others[i]), live.get(asked[j])
        if left is not None and right is not None and left < right:
            out.append(others[i])
            i += 1
        else:
            out.append(asked[j])
            j += 1
    return out + list(others[i:]) + list(asked[j:])
