"""Names of derived objects: deterministic, in the alphabet Kubernetes uses for its random ones.

1. A hash of content is taken over values, not over encoded bytes: msgspec leaves out a default only when it is the very
   same object, so equal structs may encode differently.
2. Fields at their default do not count: a field that a later version adds changes no hash.

The name of a thing that does not exist yet is a function of its owner and a number, so compiling again before the
write is seen asks for the same object.
"""

from hashlib import blake2b
from typing import Any

import msgspec

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


def content_of(value: Any) -> str:
    """Text that is equal exactly for equal values (rules 1 and 2)."""
    if isinstance(value, msgspec.Struct):
        blank = type(value)()
        pairs = ((name, getattr(value, name)) for name in value.__struct_fields__)
        parts = (f"{name}={content_of(item)}" for name, item in pairs if item != getattr(blank, name))
        return f"{{{','.join(parts)}}}"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key!r}:{content_of(value[key])}' for key in sorted(value))}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(content_of, value))}]"
    return repr(value)
