"""One proxy: its plan, rendered, through the state machine, and back as a fact. Sans-IO.

Rules:

1. ``applied[unit]`` is the digest of a unit whose every part Envoy confirmed on this stream; it changes to a newer
   digest only with the newer confirmation, so a refused change leaves the old digest in force.
2. A certificate Envoy refuses (it, or its filter chain), without an earlier form, leaves rendering and listener:
   its hosts move to the default certificate. A listener would otherwise wait for the secret forever.
3. Nothing is applied while no Envoy is connected.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from podwire.plan import Certificate, PlaneFact, ProxyPlan, digest
from podwire.planes.envoy.machine import FRAME, Machine, Request, Response, Type
from podwire.planes.envoy.render import DEFAULT_SECRET, KeyPair, Need, Rendered, Renderer
from podwire.planes.envoy.virtualhosts import CONFIGURATION

_KINDS = MappingProxyType({"hosts": "host/", "clusters": "cluster/", "certificates": "certificate/"})
_FRAMES: tuple[tuple[Type, str], ...] = (
    ("listener", "health"),
    ("listener", "http"),
    ("listener", "https"),
    ("route", CONFIGURATION),
)


class Session:
    """State of one proxy across streams."""

    def __init__(self, fallback: KeyPair) -> None:
        """``fallback`` is the certificate of last resort."""
        self.machine = Machine()
        self._renderer = Renderer(fallback)
        self._plan: ProxyPlan | None = None
        self._rendered = Rendered({}, {})
        self._refused: dict[str, tuple[Certificate, str]] = {}
        self._digests: dict[str, str] = {}
        self._applied: dict[str, str] = {}
        self._open: set[str] = set()
        self._ready = False

    def want(self, plan: ProxyPlan) -> None:
        """A new plan; only units that are other objects than before cost anything beyond a look."""
        before, self._plan = self._plan, plan
        self._refused = {k: bad for k, bad in self._refused.items() if plan.certificates.get(k) == bad[0]}
        self._render(before)
        for kind in _KINDS:
            old: Mapping[str, msgspec.Struct] = getattr(before, kind) if before else {}
            new: Mapping[str, msgspec.Struct] = getattr(plan, kind)
            if new is not old:
                self._compare(_KINDS[kind], old, new)

    def _compare(self, prefix: str, old: Mapping[str, msgspec.Struct], new: Mapping[str, msgspec.Struct]) -> None:
        for key, unit in new.items():
            if old.get(key) is not unit:
                self._digests[prefix + key] = digest(unit)
                self._open.add(prefix + key)
        for key in old.keys() - new.keys():
            del self._digests[prefix + key]
            self._applied.pop(prefix + key, None)
            self._open.discard(prefix + key)

    def connect(self) -> None:
        """Envoy opened a stream."""
        self.machine.connect()
        self._forget()

    def disconnect(self) -> None:
        """The stream ended; what Envoy still serves is unknown."""
        self.machine.disconnect()
        self._forget()

    def receive(self, request: Request) -> None:
        """One request of Envoy."""
        self.machine.receive(request)
        if request.type in ("secret", "listener") and request.error is not None:
            self._exclude_refused()

    def poll(self) -> tuple[Response, ...]:
        """What to send now."""
        return self.machine.poll()

    def fact(self) -> PlaneFact:
        """What Envoy confirmed and refused so far."""
        rejected: dict[str, str] = {}
        for key in sorted(self._open):
            words = self._refusal(key)
            if words is not None:
                rejected[key] = words
            elif self._is_in_force(key):
                self._applied[key] = self._digests[key]
                self._open.discard(key)
        self._ready = self._ready or (self.machine.connected and self._serves())
        return PlaneFact(self._ready, dict(self._applied), rejected, self._frame_refusal())

    def retry(self) -> bool:
        """Offer again what Envoy refused for a reason of the machine's (a port that was taken)."""
        return self.machine.retry()

    def _forget(self) -> None:
        self._applied.clear()
        self._open = set(self._digests)
        self._ready = False

    def _render(self, before: ProxyPlan | None) -> None:
        """Render the plan; units whose serving depends on a chain that came or went are open again."""
        plan, last = self._plan, self._rendered
        if plan is None:
            return
        self._rendered = self._renderer.render(plan, refused=frozenset(self._refused))
        self.machine.want(self._rendered.wanted)
        if before is None or (self._rendered.chains is last.chains and self._rendered.default == last.default):
            return
        for key in before.certificates.keys() & plan.certificates.keys():
            self._reopen(f"certificate/{key}", last)
        for key in before.hosts.keys() & plan.hosts.keys():
            if plan.hosts[key].certificate:
                self._reopen(f"host/{key}", last)

    def _reopen(self, unit: str, last: Rendered) -> None:
        if self._needs(unit) != last.needs_of(unit, self._certificate_of(unit)):
            self._open.add(unit)
            self._applied.pop(unit, None)

    def _certificate_of(self, unit: str) -> str:
        if self._plan is None or not unit.startswith("host/"):
            return ""
        return self._plan.hosts[unit.removeprefix("host/")].certificate

    def _needs(self, unit: str) -> tuple[Need, ...]:
        return self._rendered.needs_of(unit, self._certificate_of(unit))

    def _exclude_refused(self) -> None:
        plan = self._plan
        if plan is None:
            return
        found: dict[str, tuple[Certificate, str]] = {}
        for key in plan.certificates.keys() - self._refused.keys():
            part = f"certificate/{key}"
            for need in (*self._needs(part), _chain(part)):
                words = self.machine.refusal(*need)
                if words is not None and not (need[0] == "secret" and self.machine.has_fallback(need[0], need[1])):
                    found[key] = (plan.certificates[key], words)
        if found:
            self._refused.update(found)
            self._render(plan)

    def _refusal(self, unit: str) -> str | None:
        bad = self._refused.get(unit.removeprefix("certificate/")) if unit.startswith("certificate/") else None
        if bad is not None:
            return bad[1]
        return next((w for w in (self.machine.refusal(*need) for need in self._needs(unit)) if w), None)

    def _is_in_force(self, unit: str) -> bool:
        return self.machine.connected and all(self.machine.has(*need) for need in self._needs(unit))

    def _frame_refusal(self) -> str:
        return "; ".join(w for t, n in _FRAMES if (w := self.machine.refusal(t, n, FRAME)))

    def _serves(self) -> bool:
        """Listeners are confirmed, and the routes and the certificate they wait for."""
        secret = self._rendered.wanted.get("secret", {}).get(DEFAULT_SECRET, {})
        framed = all(self.machine.has(t, n, FRAME) for t, n in _FRAMES)
        return framed and all(self.machine.has("secret", DEFAULT_SECRET, key) for key in secret)


def _chain(part: str) -> Need:
    return ("listener", "https", part)


def units_of(plan: ProxyPlan) -> Mapping[str, msgspec.Struct]:
    """Every unit of a proxy by its key in :class:`podwire.plan.PlaneFact`."""
    kinds = ((prefix, getattr(plan, kind)) for kind, prefix in _KINDS.items())
    return {prefix + key: unit for prefix, units in kinds for key, unit in units.items()}
