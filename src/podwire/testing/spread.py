"""The promise about many connections: exactly the predicted endpoints answer, and a sticky client stays with one.

One connection shows that an answer is among the predicted ones; here every case is asked until each predicted endpoint
has answered, so that an endpoint that is predicted and never chosen is a fault too.
"""

from collections.abc import Sequence

import msgspec

from podwire.engine import State
from podwire.explain import World
from podwire.testing.probes import Observation, send_probes
from podwire.testing.promise import Case, agrees, make_cases

ROUNDS = 80
"""An endpoint of eight is missed by 80 connections once in 40,000 times; a case is asked no longer than it needs."""
STICKY_ROUNDS = 6


class Spread(msgspec.Struct):
    """One case and who has answered."""

    case: Case
    sticky: bool
    seen: set[str] = msgspec.field(default_factory=set)
    wrong: Observation | None = None

    @property
    def pods(self) -> set[str]:
        """Who is to answer."""
        return {o.pod for o in self.case.predicted}

    def is_done(self, rounds: int) -> bool:
        """Whether more connections could tell nothing new."""
        if self.wrong is not None or (self.sticky and len(self.seen) > 1):
            return True
        return rounds >= STICKY_ROUNDS if self.sticky else self.seen == self.pods

    def fault(self) -> str:
        """What is wrong, in words; empty when nothing is."""
        who = f"{self.case.source.name} -> {self.case.target}"
        if self.wrong is not None:
            return f"{who}: predicted {sorted(self.case.predicted)}, observed {self.wrong}"
        if self.sticky:
            return f"{who}: sticky, but {sorted(self.seen)} answered" if len(self.seen) != 1 else ""
        missing = sorted(self.pods - self.seen)
        return f"{who}: never answered by {missing}" if missing else ""


async def find_spread_faults(state: State) -> tuple[int, list[str]]:
    """How many cases have several endpoints, and what is wrong with any of them."""
    asked = _choose(state)
    for rounds in range(ROUNDS):
        left = [one for one in asked if not one.is_done(rounds)]
        if not left:
            break
        await _ask_once(left)
    return len(asked), [fault for one in asked if (fault := one.fault())]


def _choose(state: State) -> list[Spread]:
    """Cases in which several stand-ins may answer by TCP; others tell nobody who they are."""
    world = World(state.snapshot, state.plans)
    found = []
    for case in make_cases(state):
        target, connects = case.target, all(o.outcome == "connects" and o.pod for o in case.predicted)
        if target.protocol != "TCP" or not connects or len({o.pod for o in case.predicted}) < 2:
            continue
        unit = world.units_by_virtual.get((target.host, target.protocol, target.port))
        unit = unit or world.units_by_node_port.get((":" in target.host, target.protocol, target.port))
        if unit is not None and unit.affinity_seconds and state.plans.nodes.edge and not case.source.node:
            continue  # each node remembers for itself, and the edge chooses the node
        found.append(Spread(case, sticky=unit is not None and unit.affinity_seconds > 0))
    return found


async def _ask_once(left: Sequence[Spread]) -> None:
    answers = await send_probes([one.case.probe for one in left])
    for one in left:
        answer = answers[one.case.probe]
        if agrees(one.case.predicted, answer):
            one.seen.add(answer.pod)
        else:
            one.wrong = answer
