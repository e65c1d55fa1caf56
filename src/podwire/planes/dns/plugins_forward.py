"""The plugin forward: which names go to which pool of upstreams. The pool itself is ``upstream.py``.

Source: coredns:plugin/forward.
"""

from typing import Any

from podwire.planes.dns import message as m
from podwire.planes.dns import wire
from podwire.planes.dns.chain import Ask, Next, Outcome, Request
from podwire.planes.dns.message import Message


class Forward:
    """Asks pool number ``pool`` about names below its zone."""

    name = "forward"

    def __init__(self, options: dict[str, Any], pool: int) -> None:
        """Options as in ``podwire.plan.dnsconfig.Forward``."""
        self._pool = pool
        self._zone = wire.encode_name(options["zone"])
        self._excepts = tuple(map(wire.encode_name, options["excepts"]))
        self._next = frozenset(m.RCODES[code] for code in options["next_rcodes"])
        self._upstreams = bool(options["upstreams"])
        self._next_on_nodata = bool(options.get("next_on_nodata"))

    def serve(self, request: Request, following: Next) -> Outcome:
        """Names outside the zone, or below an exception, go on."""
        key = request.key
        if not m.name_below(self._zone, key) or any(m.name_below(zone, key) for zone in self._excepts):
            return following(request)
        if not self._upstreams:
            why = "not a name of this cluster, and no upstream resolver is configured"
            return m.failure(why, code=wire.EDE_NOT_AUTHORITATIVE, rcode=wire.REFUSED, source=self.name)

        def resume(found: Message) -> Outcome:
            found.source = self.name
            nodata = self._next_on_nodata and found.rcode == 0 and found.raw is not None and found.raw[6:8] == b"\0\0"
            return following(request) if nodata or found.rcode in self._next else found

        return Ask(self._pool, request.upstream_packet, resume)
