"""Small stable numbers for big keys.

The kernel tables name identities, decisions and service ports by 20-bit numbers. A number must not depend on the
order in which objects arrived (equal input gives byte-equal plans), and must not move when unrelated keys come or go
(change cost follows the change). So a number is a hash of its key; only keys that collide depend on each other.
"""

from collections.abc import Iterable
from hashlib import blake2b


def stable_hash(text: str, *, size_bytes: int = 5) -> str:
    """Hexadecimal digest of ``text``, the same in every process."""
    return blake2b(text.encode(), digest_size=size_bytes).hexdigest()


def assign_numbers(keys: Iterable[str], *, bits: int = 20, first: int = 1) -> dict[str, int]:
    """A distinct number in ``[first, 2**bits)`` for every key; collisions resolve in sorted key order.

    Raises :class:`ValueError` when there are more keys than numbers.
    """
    span = (1 << bits) - first
    taken: dict[int, str] = {}
    numbers: dict[str, int] = {}
    ordered = sorted(set(keys))
    if len(ordered) > span:
        raise ValueError(f"{len(ordered)} keys do not fit into {bits} bits")
    for key in ordered:
        number = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") % span + first
        while number in taken:
            number = number + 1 if number + 1 < first + span else first
        taken[number] = key
        numbers[key] = number
    return numbers
