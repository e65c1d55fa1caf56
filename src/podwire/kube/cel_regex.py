"""Regular expressions of schemas and rules: RE2, as Go has it, in time linear in the text.

``re`` of Python backtracks: one pattern of a user could hold up the server for ever. RE2 comes with ``google-re2`` and
is loaded with the first pattern.
"""

import functools
from typing import Any

from podwire.kube.cel_values import CelError

MAX_PATTERN = 10_000


class PatternError(CelError):
    """RE2 does not take the pattern."""


@functools.lru_cache(maxsize=2048)
def compile_pattern(pattern: str) -> Any:
    """The compiled pattern (``search`` and ``finditer`` as in ``re``). Raises :class:`PatternError`."""
    import re2

    if len(pattern) > MAX_PATTERN:
        raise PatternError("expression too large")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except UnicodeEncodeError as error:
        raise PatternError("invalid UTF-8") from error
    except re2.error as error:
        text = error.args[0] if error.args else ""
        raise PatternError(text.decode() if isinstance(text, bytes) else str(text)) from error


def matches(text: str, pattern: str) -> bool:
    """Whether the pattern is found anywhere in ``text``."""
    return compile_pattern(pattern).search(_sound(text)) is not None


def _sound(text: str) -> str:
    """Half a surrogate pair, as JSON escapes allow, becomes a question mark: RE2 reads UTF-8."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    """The leftmost matches, none overlapping; at most ``limit`` when it is not negative."""
    found: list[str] = []
    if limit == 0:
        return found
    for match in compile_pattern(pattern).finditer(_sound(text)):
        found.append(match.group(0))
        if len(found) == limit:
            break
    return found
