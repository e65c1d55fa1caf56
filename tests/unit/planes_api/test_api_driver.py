"""Writes: once while the plan asks for the same, again when undone, never two of a key, conflicts left alone."""

import asyncio
from typing import Any

from podwire.base import Origin, PodwireError, Ref
from podwire.client import ApiError, Change
from podwire.plan import Create, Fact, PlaneFact, Write, WritePlan
from podwire.planes.api import ApiDriver

REF = Ref("ConfigMap", "a", "x")


def create(name: str = "x", **data: str) -> Create:
    body = {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "a"}, "data": data}
    return Create(Origin(REF), REF, "v1", body)


class Sink:
    """A source that records writes, answers as told, and can be made to wait."""

    def __init__(self, *answers: PodwireError | None) -> None:
        self.answers = list(answers)
        self.written: list[Write] = []
        self.wrote = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def changes(self) -> tuple[Change, ...]:
        raise AssertionError("not watched")

    async def write(self, write: Write) -> None:
        await self.gate.wait()
        self.written.append(write)
        self.wrote.set()
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer

    async def close(self) -> None:
        return None


def refusal(code: int) -> ApiError:
    return ApiError({"code": code, "message": "no", "reason": "Invalid"})


async def settle(sink: Sink) -> None:
    async with asyncio.timeout(20):
        await sink.wrote.wait()
    for _ in range(5):
        await asyncio.sleep(0)


def run(sink: Sink, test: Any) -> list[Fact]:
    facts: list[Fact] = []

    async def main() -> None:
        driver = ApiDriver(sink, lambda _, fact: facts.append(fact))
        await test(driver)
        await driver.close()

    asyncio.run(main())
    return facts


def test_the_same_plan_twice_writes_once() -> None:
    sink = Sink()

    async def test(driver: ApiDriver) -> None:
        await driver.apply(WritePlan({"k": create()}))
        await settle(sink)
        await driver.apply(WritePlan({"k": create()}))
        await settle(sink)

    run(sink, test)
    assert len(sink.written) == 1


def test_a_write_that_left_the_plan_and_came_back_is_new() -> None:
    sink = Sink()

    async def test(driver: ApiDriver) -> None:
        for plan in (WritePlan({"k": create()}), WritePlan({}), WritePlan({"k": create()})):
            sink.wrote.clear()
            await driver.apply(plan)
            if plan.writes:
                await settle(sink)

    run(sink, test)
    assert len(sink.written) == 2


def test_a_changed_write_waits_for_the_one_under_way() -> None:
    sink = Sink()

    async def test(driver: ApiDriver) -> None:
        sink.gate.clear()
        await driver.apply(WritePlan({"k": create(v="1")}))
        await asyncio.sleep(0)
        await driver.apply(WritePlan({"k": create(v="2")}))
        sink.gate.set()
        await settle(sink)

    run(sink, test)
    assert [w.body["data"] for w in sink.written if isinstance(w, Create)] == [{"v": "1"}, {"v": "2"}]


def test_a_refusal_is_reported_and_cleared_by_success() -> None:
    sink = Sink(refusal(422))

    async def test(driver: ApiDriver) -> None:
        await driver.apply(WritePlan({"k": create(v="bad")}))
        await settle(sink)
        sink.wrote.clear()
        await driver.apply(WritePlan({"k": create(v="good")}))
        await settle(sink)

    facts = run(sink, test)
    assert facts == [PlaneFact(ready=True, rejected={"k": "no"}), PlaneFact(ready=True)]


def test_a_conflict_is_nobodys_fault() -> None:
    sink = Sink(refusal(409))

    async def test(driver: ApiDriver) -> None:
        await driver.apply(WritePlan({"k": create()}))
        await settle(sink)

    assert run(sink, test) == []
