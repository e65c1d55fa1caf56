"""Names of derived objects: deterministic, in the alphabet Kubernetes uses for its random ones.

The name of a thing that does not exist yet is a function of its owner and a number, so compiling again before the
write is seen asks for the same object.
"""

from hashlib import blake2b

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""apimachinery's rand alphabet."""


def suffix_of(text: str, *, length: int = 5) -> str:
    """``length`` characters of the alphabet, a function of ``text`` alone."""
    number = int.from_bytes(blake2b(text.encode(), digest_size=12).digest(), "big")
    letters = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[digit])
    return "".join(letters)


def child_name(base: str, seed: str, *, length: int = 5, limit: int = 253) -> str:
    """``base-x7k2p``, the base cut where the name would be too long."""
    return f"{base[: limit - length - 1]}-{suffix_of(seed, length=length)}"
