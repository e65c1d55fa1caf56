"""The loop over a source and drivers made for the test: newest plan wins, facts come back, failures are retried."""

import asyncio
from typing import Any

import pytest

from podwire.base import EnvironmentUnfit, PodwireError
from podwire.client import Change
from podwire.engine import Engine, Slot
from podwire.plan import NodeFact, Plans, Write
from podwire.snapshot import Settings
from podwire.testing.build import namespace, service


class MemorySource:
    """Changes put in by the test."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.queue: asyncio.Queue[tuple[Change, ...]] = asyncio.Queue()
        self.put(*objects)

    def put(self, *objects: dict[str, Any]) -> None:
        self.queue.put_nowait(tuple(Change(o["kind"], key_of(o), o) for o in objects))

    def remove(self, value: dict[str, Any]) -> None:
        self.queue.put_nowait((Change(value["kind"], key_of(value), None),))

    async def changes(self) -> tuple[Change, ...]:
        return await self.queue.get()

    async def write(self, write: Write) -> None:
        raise AssertionError(f"nobody writes here: {write}")

    async def close(self) -> None:
        return None


def key_of(value: dict[str, Any]) -> str:
    meta = value["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if "namespace" in meta else str(meta["name"])


class RecordingDriver:
    """Remembers the plans; fails as often as told."""

    def __init__(self, *failures: PodwireError) -> None:
        self.plans: list[Any] = []
        self.failures = list(failures)
        self.applied = asyncio.Event()

    async def apply(self, plan: Any) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.plans.append(plan)
        self.applied.set()

    async def close(self) -> None:
        return None


def services_of(plans: Plans) -> Any:
    return plans.services


async def run(source: MemorySource, driver: RecordingDriver, test: Any) -> None:
    engine = Engine(source, settings=Settings(planes=False), clock=lambda: 1_800_000_000.0)
    engine.add([Slot("services", services_of, driver)])
    running = asyncio.create_task(engine.run())
    try:
        async with asyncio.timeout(20):
            await test(engine)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_a_change_reaches_the_driver_and_its_removal_too() -> None:
    web = service("a/web", "10.96.0.9")
    source, driver = MemorySource(namespace("a"), web), RecordingDriver()

    async def test(engine: Engine) -> None:
        await engine.wait_until(lambda state: "a/web:80/TCP" in state.plans.services.ports)
        await driver.applied.wait()
        assert "a/web:80/TCP" in driver.plans[-1].ports
        source.remove(web)
        await engine.wait_until(lambda state: not state.plans.services.ports)

    asyncio.run(run(source, driver, test))


def test_a_fact_starts_a_compile_and_an_equal_one_does_not() -> None:
    source, driver = MemorySource(namespace("a")), RecordingDriver()

    async def test(engine: Engine) -> None:
        first = await engine.wait_until(lambda state: True)
        engine.report("node-1", NodeFact(ready=True))
        seen = await engine.wait_until(lambda state: "node-1" in state.snapshot.facts.nodes)
        assert seen is not first
        engine.report("node-1", NodeFact(ready=True))
        source.put(namespace("b"))
        await engine.wait_until(lambda state: "b" in state.snapshot.objects["Namespace"])

    asyncio.run(run(source, driver, test))


def test_a_driver_that_failed_is_tried_again() -> None:
    source = MemorySource(namespace("a"), service("a/web", "10.96.0.9"))
    driver = RecordingDriver(PodwireError("not now"))

    async def test(engine: Engine) -> None:
        await driver.applied.wait()
        assert "a/web:80/TCP" in driver.plans[-1].ports

    asyncio.run(run(source, driver, test))


def test_an_unfit_environment_ends_the_engine() -> None:
    driver = RecordingDriver(EnvironmentUnfit("no nftables"))

    async def main() -> None:
        engine = Engine(MemorySource(namespace("a")), settings=Settings(planes=False), clock=lambda: 0.0)
        engine.add([Slot("services", services_of, driver)])
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(20):
                await engine.run()
        assert caught.group_contains(EnvironmentUnfit, match="no nftables")

    asyncio.run(main())


def test_an_object_that_does_not_parse_is_a_finding_and_the_others_go_on() -> None:
    broken = service("a/broken", "10.96.0.8")
    broken["spec"]["ports"] = "eighty"
    source, driver = MemorySource(namespace("a"), broken, service("a/web", "10.96.0.9")), RecordingDriver()

    async def test(engine: Engine) -> None:
        state = await engine.wait_until(lambda state: "a/web:80/TCP" in state.plans.services.ports)
        assert [f.code for f in state.plans.findings if f.ref.name == "broken"] == ["PW9001"]

    asyncio.run(run(source, driver, test))


class BuggyDriver(RecordingDriver):
    """Raises what no driver may raise, once."""

    async def apply(self, plan: Any) -> None:
        if not self.plans:
            self.plans.append(None)
            raise ZeroDivisionError("a bug")
        await super().apply(plan)


def test_a_bug_in_a_driver_is_loud_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    source, driver = MemorySource(namespace("a"), service("a/web", "10.96.0.9")), BuggyDriver()

    async def test(engine: Engine) -> None:
        await driver.applied.wait()
        assert engine.bugs == ["driver services: ZeroDivisionError('a bug')"]

    asyncio.run(run(source, driver, test))
    assert "ZeroDivisionError" in caplog.text


def test_a_bug_in_the_compiler_keeps_the_last_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    from podwire.compile import Compiler

    source, driver = MemorySource(namespace("a"), service("a/web", "10.96.0.9")), RecordingDriver()

    async def test(engine: Engine) -> None:
        before = await engine.wait_until(lambda state: True)
        failed = asyncio.Event()

        def broken(*_: object) -> None:
            failed.set()
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(Compiler, "compile", broken)
            source.put(namespace("b"))
            await failed.wait()
        assert engine.state is before
        assert engine.bugs == ["compiler: ZeroDivisionError()"]
        source.put(namespace("c"))
        await engine.wait_until(lambda state: "c" in state.snapshot.objects["Namespace"])

    asyncio.run(run(source, driver, test))
