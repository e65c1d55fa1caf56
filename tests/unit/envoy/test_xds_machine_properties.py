"""The state machine against a model of Envoy: whatever the order of events, both end with what is wanted."""

from collections import deque
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.planes.envoy.machine import TYPES, Machine, Request, Response, Type, Wanted, version_of

BAD = b"!"
CLUSTERS = ("c1", "c2", "c3")
HOSTS = ("h1", "h2", "h3", "h4")


class ModelEnvoy:
    """Subscribes as Envoy does, refuses bodies with ``!``, and notes what a client would notice."""

    def __init__(self) -> None:
        self.state: dict[Type, dict[str, bytes]] = {t: {} for t in TYPES}
        self.subscribed: dict[Type, set[str]] = {t: set() for t in TYPES}
        self.warm: set[str] = set()
        self.out: deque[Request] = deque()

    def connect(self) -> None:
        """A stream of the same process: what it has, it says."""
        self.out.clear()
        for type_ in TYPES:
            held = {name: version_of(body) for name, body in self.state[type_].items()}
            names = () if type_ in ("cluster", "listener") else tuple(sorted(self.subscribed[type_]))
            if names or type_ in ("cluster", "listener"):
                self.out.append(Request(type_, subscribe=names, initial_versions=held))

    def receive(self, response: Response) -> None:
        type_, state = response.type, self.state[response.type]
        bad = [sent for sent in response.resources if BAD in sent.body]
        if bad:
            if type_ == "secret":  # stored all the same: a second sight of it is confirmed
                assert all(state.get(sent.name) != sent.body for sent in bad), "the same refused secret again"
                state.update((sent.name, sent.body) for sent in response.resources)
            self.out.append(Request(type_, nonce=response.nonce, error=f"bad {bad[0].name}"))
            return
        for sent in response.resources:
            if type_ not in ("cluster", "listener") and sent.name not in self.subscribed[type_]:
                continue  # given up while the response was under way
            state[sent.name] = sent.body
            if type_ == "cluster":
                self.warm.discard(sent.name)
            if type_ == "endpoint":
                self.warm.add(sent.name)
        for name in response.removed:
            self._remove(type_, name)
        self._follow(type_)
        self.out.append(Request(type_, nonce=response.nonce))
        self._check_routes()

    def _remove(self, type_: Type, name: str) -> None:
        self.state[type_].pop(name, None)
        if type_ == "cluster":
            assert name not in self.routed(), f"cluster {name} went away under its routes"
            self.warm.discard(name)

    def _follow(self, type_: Type) -> None:
        """Clusters ask for endpoints, listeners for routes and secrets."""
        if type_ == "cluster":
            self._subscribe("endpoint", self.state["cluster"])
        if type_ == "listener":
            text = b"".join(self.state["listener"].values()).decode()
            self._subscribe("secret", [word for word in text.split() if word.startswith("s")])
            self._subscribe("route", [word for word in text.split() if word.startswith("r")])

    def _subscribe(self, type_: Type, names: Iterable[str]) -> None:
        now = set(names)
        fresh, stale = now - self.subscribed[type_], self.subscribed[type_] - now
        self.subscribed[type_] = now
        for name in stale:
            self.state[type_].pop(name, None)
        if fresh or stale:
            self.out.append(Request(type_, subscribe=tuple(sorted(fresh)), unsubscribe=tuple(sorted(stale))))

    def routed(self) -> set[str]:
        return set(self.state["route"].get("r", b"").decode().split()) & set(CLUSTERS)

    def _check_routes(self) -> None:
        for name in self.routed():
            assert name not in self.state["cluster"] or name in self.warm or name in self.warming, name

    @property
    def warming(self) -> set[str]:
        """Clusters that were replaced just now: Envoy serves by the old one until the new is warm."""
        return set(self.state["cluster"]) - self.warm


contents = st.sampled_from([b"1 ", b"2 ", b"3 ", b"! ", b"!! "])


@st.composite
def wanted_plans(draw: st.DrawFn) -> Wanted:
    clusters = draw(st.sets(st.sampled_from(CLUSTERS)))
    hosts = draw(st.dictionaries(st.sampled_from(HOSTS), contents, max_size=4))
    secrets = draw(st.dictionaries(st.sampled_from(["s1", "s2"]), contents))
    target = st.sampled_from(sorted(clusters)) if clusters else st.just("")
    return {
        "cluster": {c: {f"cluster/{c}": draw(contents)} for c in sorted(clusters)},
        "endpoint": {c: {f"cluster/{c}": draw(contents)} for c in sorted(clusters)},
        "secret": {s: {f"certificate/{s}": body} for s, body in secrets.items()},
        "listener": {"l": {"": b"r ", **{f"certificate/{s}": f"{s} ".encode() for s in sorted(secrets)}}},
        "route": {
            "r": {"": b"f ", **{f"host/{h}": body + draw(target).encode() + b" " for h, body in sorted(hosts.items())}}
        },
    }


steps = st.lists(
    st.one_of(wanted_plans(), st.sampled_from(["send", "send", "take", "take", "reconnect", "restart"])), max_size=40
)


class Wire:
    """Both ends and what is under way between them."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.envoy = ModelEnvoy()
        self.down: deque[Response] = deque()
        self.seen: dict[tuple[Type, str, str], set[bytes]] = {}
        self.restart()

    def restart(self) -> None:
        self.envoy = ModelEnvoy()
        self.reconnect()

    def reconnect(self) -> None:
        self.machine.disconnect()
        self.down.clear()
        self.machine.connect()
        self.envoy.connect()

    def send(self) -> None:
        """The server takes one request, and answers."""
        if self.envoy.out:
            self.machine.receive(self.envoy.out.popleft())
        self.down.extend(self.machine.poll())

    def take(self) -> None:
        """Envoy takes one response."""
        if self.down:
            self.envoy.receive(self.down.popleft())

    def settle(self) -> None:
        for _ in range(2000):
            self.send()
            self.take()
            if not self.down and not self.envoy.out and not self.machine.poll():
                return
        raise AssertionError("does not settle")


@settings(max_examples=80, deadline=None)
@given(steps, wanted_plans())
def test_envoy_ends_with_what_is_wanted(script: list[Wanted | str], last: Wanted) -> None:
    wire = Wire()
    for step in script:
        if isinstance(step, str):
            getattr(wire, step)()
        else:
            wire.machine.want(step)
    wire.machine.want(last)
    wire.settle()
    machine, envoy = wire.machine, wire.envoy
    assert envoy.state["cluster"].keys() <= last["cluster"].keys()
    for type_ in TYPES:
        for name, parts in last[type_].items():
            has = envoy.state[type_].get(name, b"")
            for key, body in parts.items():
                asked = type_ in ("cluster", "listener") or name in envoy.subscribed[type_]
                if BAD in body:
                    assert not machine.has(type_, name, key)
                    assert not asked or machine.refusal(type_, name, key), (type_, name, key)
                elif asked:
                    assert body in has, (type_, name, key, has)
                    assert machine.has(type_, name, key)
            if type_ != "secret" or not any(BAD in body for body in parts.values()):
                assert BAD not in has
    assert envoy.warm >= {c for c in envoy.state["cluster"] if envoy.state["endpoint"].get(c)}


@settings(max_examples=30, deadline=None)
@given(wanted_plans())
def test_equal_plans_send_nothing(plan: Wanted) -> None:
    wire = Wire()
    wire.machine.want(plan)
    wire.settle()
    copy: Wanted = {t: {n: dict(parts) for n, parts in names.items()} for t, names in plan.items()}
    wire.machine.want(copy)
    assert wire.machine.poll() == ()


@settings(max_examples=30, deadline=None)
@given(wanted_plans(), wanted_plans())
def test_a_reconnecting_envoy_gets_the_difference_only(before: Wanted, after: Wanted) -> None:
    wire = Wire()
    wire.machine.want(before)
    wire.settle()
    held = {t: dict(names) for t, names in wire.envoy.state.items()}
    wire.machine = Machine()
    wire.machine.want(before)
    wire.reconnect()
    sent: list[Response] = []
    while wire.envoy.out:
        wire.machine.receive(wire.envoy.out.popleft())
        sent.extend(wire.machine.poll())
    repeated = [s.name for r in sent for s in r.resources if held[r.type].get(s.name) == s.body]
    assert repeated == []
