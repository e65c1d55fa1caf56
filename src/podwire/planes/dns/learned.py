"""The addresses that names of policies have, as the workers learned them.

Rules:

1. An address lives for its TTL, at least :data:`GRACE_SECONDS`; hearing of it again prolongs it, never shortens it.
2. The revision grows with every change that kernels must know; an answer waits for the revision that has its addresses.
3. Bounded: at most :data:`MAX_NAMES` names and :data:`MAX_ADDRESSES` addresses each; the names not heard of for longest
   go first, so a flood of made-up names below a wildcard pushes out its own kind, and is counted.
4. The store survives a restart as a file: pods go on with the answers they have.

Pure: time is an argument. Source: network-policy-api NPEP-133.
"""

from collections.abc import Iterable

import msgspec

from podwire.plan import NamesFact

GRACE_SECONDS = 30.0
MAX_NAMES = 4096
MAX_ADDRESSES = 256


class Learned:
    """Names with their addresses, the newest name last."""

    def __init__(self) -> None:
        """Nothing learned."""
        self.revision = 0
        self.evicted = 0
        self._names: dict[str, dict[str, float]] = {}

    def take(self, name: str, addresses: Iterable[tuple[str, int]], now: float) -> int:
        """Hear of a name; the revision that has all of its addresses."""
        known = self._names.pop(name, {})
        alive = {address: until for address, until in known.items() if until > now}
        for address, ttl in addresses:
            until = now + max(float(ttl), GRACE_SECONDS)
            alive[address] = max(until, alive.pop(address, 0.0))
        while len(alive) > MAX_ADDRESSES:
            del alive[next(iter(alive))]
        self._names[name] = alive
        while len(self._names) > MAX_NAMES:
            del self._names[next(iter(self._names))]
            self.evicted += 1
        if alive != known:
            self.revision += 1
        return self.revision

    def fact(self) -> NamesFact:
        """What the compiler gets: names in order, with addresses and when they end."""
        names = {name: tuple(sorted(found.items())) for name, found in sorted(self._names.items())}
        return NamesFact(names, self.revision)

    def dump(self) -> bytes:
        """For the file."""
        return msgspec.json.encode(self._names)

    def load(self, data: bytes, now: float) -> None:
        """From the file, without what has ended. Nonsense is nothing."""
        try:
            names = msgspec.json.decode(data, type=dict[str, dict[str, float]])
        except msgspec.DecodeError:
            return
        for name, found in list(names.items())[-MAX_NAMES:]:
            alive = {address: until for address, until in found.items() if until > now}
            if alive:
                self._names[name] = alive
        self.revision += bool(self._names)
