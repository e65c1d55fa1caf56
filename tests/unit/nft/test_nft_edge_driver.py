"""The edge's driver while its namespace is not there yet, and while the kernel refuses what it is asked."""

import asyncio

import pytest

from podwire.plan import Fact, NodePlan, PlaneFact
from podwire.planes.nft import edge

DEADLINE_SECONDS = 30


class Kernel:
    """A namespace that is missing at first; nft there refuses the first commands."""

    def __init__(self) -> None:
        self.looks = 0
        self.refusals = ["no memory"]
        self.taken: list[str] = []

    def identify(self, netns: str) -> tuple[int, int] | None:
        self.looks += 1
        return (1, 1) if self.looks > 2 else None

    def run(self, text: str) -> str:
        if self.refusals:
            return self.refusals.pop()
        self.taken.append(text)
        return ""

    def close(self) -> None:
        """Nothing to close."""


def test_a_refusal_in_the_background_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    monkeypatch.setattr(edge, "_RETRY_SECONDS", 0)
    monkeypatch.setattr(edge, "identify_netns", kernel.identify)
    monkeypatch.setattr(edge, "load_library", lambda: None)
    monkeypatch.setattr(edge, "open_session", lambda library, netns: kernel)
    plan = NodePlan("c", ("10.89.0.0/24",), {}, {}, {}, ("10.96.0.0/12",), ("10.244.0.0/16",), edge=True)

    async def check() -> list[Fact]:
        facts: list[Fact] = []
        ready = asyncio.Event()

        def report(key: str, fact: Fact) -> None:
            asyncio.get_running_loop()  # raises in any other thread
            facts.append(fact)
            if isinstance(fact, PlaneFact) and fact.ready:
                ready.set()

        driver = edge.EdgeDriver(report, cluster="c")
        await driver.apply(plan)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await ready.wait()
        await driver.close()
        return facts

    facts = asyncio.run(check())
    assert [isinstance(fact, PlaneFact) and fact.ready for fact in facts] == [False, True]
    assert len(kernel.taken) == 1 and "podwire-edge" in kernel.taken[0]
