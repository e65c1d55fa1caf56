"""How long a container waits before it starts again. Pure.

The first restart is immediate, then 10 s, doubling to 5 minutes; ten minutes of running forget the past.

Source: kubernetes ``pkg/kubelet/kuberuntime`` (back-off 10 s to 300 s).
"""

from typing import Final

FIRST_SECONDS: Final = 10.0
MOST_SECONDS: Final = 300.0
FORGET_SECONDS: Final = 600.0


class Backoff:
    """The delays of one container."""

    def __init__(self) -> None:
        """No restart yet."""
        self._next = 0.0

    def next_seconds(self, ran_seconds: float) -> float:
        """Delay before the next start, after a run of that length."""
        if ran_seconds >= FORGET_SECONDS:
            self._next = 0.0
        delay = self._next
        self._next = min(max(FIRST_SECONDS, delay * 2), MOST_SECONDS)
        return delay
