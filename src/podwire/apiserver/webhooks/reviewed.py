"""Writes that webhooks are asked about, without a lock while they think.

A verb runs in one turn of the event loop, and a webhook needs many. So a write is tried: where it needs an answer that
is not there yet it stops (:class:`Wanted`), having changed nothing; the webhooks are asked; then the write runs again
from the start, with the answers it has and the same luck (uid, name, time, addresses). The last run needs no answer and
is atomic as every write is. When somebody else changed the object meanwhile, the question is another one and is asked
again: that is the optimistic concurrency of the API server.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from podwire.apiserver.attempt import Answer, Attempt, Phase
from podwire.apiserver.chance import Chance
from podwire.apiserver.status import StatusError, failure
from podwire.apiserver.verbs import WriteOptions
from podwire.apiserver.webhooks.hooks import Hooks, Json

T = TypeVar("T")

MAX_ROUNDS = 12
REQUEST_SECONDS = 60.0
Assign = Callable[[Json], Json]


class Wanted(Exception):
    """A write needs an answer first."""

    def __init__(self, phase: Phase, attempt: Attempt) -> None:
        """What to ask."""
        super().__init__(phase)
        self.phase: Phase = phase
        self.attempt = attempt


class Luck:
    """A :class:`Chance` that gives every run of a write the same draws."""

    def __init__(self, chance: Chance) -> None:
        """Draws come from ``chance``."""
        self._chance = chance
        self._drawn: dict[str, list[object]] = {}
        self._used: dict[str, int] = {}

    def rewind(self) -> None:
        """The next run begins."""
        self._used.clear()

    def _draw(self, what: str, make: Callable[[], T]) -> T:
        drawn, index = self._drawn.setdefault(what, []), self._used.get(what, 0)
        self._used[what] = index + 1
        if index == len(drawn):
            drawn.append(make())
        return drawn[index]  # type: ignore[return-value]

    def now(self) -> datetime:
        """The time of the first run."""
        return self._draw("now", self._chance.now)

    def uid(self) -> str:
        """The uid of the first run."""
        return self._draw("uid", self._chance.uid)

    def suffix(self) -> str:
        """The suffix of the first run."""
        return self._draw("suffix", self._chance.suffix)

    def pick(self, count: int) -> int:
        """The pick of the first run."""
        return self._draw(f"pick {count}", lambda: self._chance.pick(count))


class Review:
    """What webhooks said about one request."""

    def __init__(self, hooks: Hooks, chance: Chance) -> None:
        """Nothing was said yet."""
        self._hooks = hooks
        self._said: list[tuple[Phase, Attempt, Answer]] = []
        self._assigned: tuple[Json, Json] | None = None
        self.chance = Luck(chance)

    def answer(self, phase: Phase, attempt: Attempt) -> Answer:
        """What the webhooks of a phase say. Raises :class:`Wanted`."""
        if not self._hooks.concern(phase, attempt):
            return Answer(attempt.new)
        for said, about, answer in self._said:
            if said == phase and about == attempt:
                return answer
        raise Wanted(phase, attempt)

    def hear(self, wanted: Wanted, answer: Answer) -> None:
        """Keep an answer."""
        self._said.append((wanted.phase, wanted.attempt, answer))

    def assign(self, value: Json, assign: Assign) -> Json:
        """What an earlier run allocated for the same object, if it is still to be had."""
        if self._assigned is not None and self._assigned[0] == value:
            try:
                return assign(self._assigned[1])
            except StatusError:
                pass  # somebody took it meanwhile
        found = assign(value)
        self._assigned = (value, found)
        return found


async def reviewed(hooks: Hooks, chance: Chance, options: WriteOptions, write: Callable[[WriteOptions], T]) -> T:
    """``write(options)``, with the webhooks asked. Raises what it and they raise, 409 and 504."""
    review = Review(hooks, chance)
    options = msgspec.structs.replace(options, review=review)
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            for _ in range(MAX_ROUNDS):
                review.chance.rewind()
                try:
                    return write(options)
                except Wanted as wanted:
                    review.hear(wanted, await hooks.ask(wanted.phase, wanted.attempt))
    except TimeoutError:
        why = "Timeout: request did not complete within requested timeout - context deadline exceeded"
        raise failure(504, "Timeout", why) from None
    why = "the object changed each time admission webhooks were asked about it; please try again"
    raise failure(409, "Conflict", f"Operation cannot be fulfilled: {why}")
