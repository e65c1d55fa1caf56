"""The store: order, visibility, durability, history."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.apiserver.journal import KEEP_DEAD, Journal
from podwire.apiserver.status import StatusError
from podwire.apiserver.store import Store
from podwire.base import EnvironmentUnfit


def thing(name: str, **data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def run(path: Path | None, body: Callable[[Store], Awaitable[None]]) -> None:
    async def main() -> None:
        store = Store.open(path)
        try:
            await body(store)
        finally:
            await store.close()

    asyncio.run(main())


def names(store: Store) -> list[str]:
    return [key for key, _ in store.items("ConfigMap")]


def test_nothing_is_visible_before_it_is_durable(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        feed = store.follow(None)
        item = store.put("ConfigMap", "a", thing("a"))
        assert store.head("ConfigMap", "a") is not None
        assert store.get("ConfigMap", "a") is None
        assert feed.waiting == 0
        await store.settled(item.rv)
        found = store.get("ConfigMap", "a")
        assert found is not None and found.value["metadata"]["resourceVersion"] == str(item.rv)
        assert [change.type for change in await feed.next()] == ["ADDED"]

    run(tmp_path / "s.sqlite", body)


def test_a_restart_keeps_objects_and_revisions(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "s.sqlite"
    last = 0

    async def first(store: Store) -> None:
        nonlocal last
        for name in "abc":
            store.put("ConfigMap", name, thing(name))
        store.put("ConfigMap", "a", thing("a", x="1"))
        last = store.remove("ConfigMap", "b").rv
        await store.settled(last)

    async def second(store: Store) -> None:
        assert names(store) == ["a", "c"]
        assert store.rv == last
        found = store.get("ConfigMap", "a")
        assert found is not None and found.value["data"] == {"x": "1"}
        assert store.put("ConfigMap", "d", thing("d")).rv == last + 1

    run(path, first)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    run(path, second)


def test_revisions_go_on_after_the_last_rows_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    last = 0

    async def churn(store: Store) -> None:
        nonlocal last
        for count in range(KEEP_DEAD + 10):
            store.put("ConfigMap", "a", thing("a", n=count))
        await store.settled(store.head_rv)
        store.put("ConfigMap", "a", thing("a", n="last"))
        last = store.remove("ConfigMap", "a").rv
        await store.settled(last)

    run(path, churn)
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("SELECT count(*) FROM log").fetchone()[0] < KEEP_DEAD

    async def after(store: Store) -> None:
        assert names(store) == [] and store.rv == last

    run(path, after)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"

    async def body(store: Store) -> None:
        await store.settled(store.put("ConfigMap", "a", thing("a")).rv)
        with pytest.raises(EnvironmentUnfit, match="cannot open the object store"):
            Store.open(path)

    run(path, body)


def test_a_failed_commit_fails_every_write_under_way_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = False
    commit = Journal._commit

    def flaky(self: Journal, batches: Any) -> None:
        if broken:
            raise sqlite3.OperationalError("disk full")
        commit(self, batches)

    monkeypatch.setattr(Journal, "_commit", flaky)

    async def body(store: Store) -> None:
        nonlocal broken
        await store.settled(store.put("ConfigMap", "a", thing("a")).rv)
        broken, epoch = True, store.epoch
        item = store.put("ConfigMap", "b", thing("b"))
        with pytest.raises(StatusError, match="disk full"):
            await store.settled(item.rv)
        assert store.epoch > epoch and store.head("ConfigMap", "b") is None
        broken = False
        await store.settled(store.put("ConfigMap", "c", thing("c")).rv)
        assert names(store) == ["a", "c"]

    run(tmp_path / "s.sqlite", body)


def test_many_writers_share_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = 0
    commit = Journal._commit

    def counting(self: Journal, batches: Any) -> None:
        nonlocal commits
        commits += 1
        commit(self, batches)

    monkeypatch.setattr(Journal, "_commit", counting)

    async def write(store: Store, name: str) -> None:
        await asyncio.sleep(0)
        await store.settled(store.put("ConfigMap", name, thing(name)).rv)

    async def body(store: Store) -> None:
        await asyncio.gather(*(write(store, f"n{count}") for count in range(200)))
        assert len(names(store)) == 200

    run(tmp_path / "s.sqlite", body)
    assert commits < 20


def test_a_slow_follower_is_cut_and_the_others_are_not() -> None:
    async def body(store: Store) -> None:
        slow, fast = store.follow(None, limit=3), store.follow(None)
        for name in "abcde":
            store.put("ConfigMap", name, thing(name))
        await store.settled(store.head_rv)
        assert slow.cut and await slow.next() == []
        assert len(await fast.next()) == 5

    run(None, body)


def test_too_old_and_too_new_revisions_are_refused() -> None:
    async def body(store: Store) -> None:
        store.history._max_bytes = 2000
        for count in range(50):
            store.put("ConfigMap", "a", thing("a", text="x" * 100, n=count))
        await store.settled(store.head_rv)
        with pytest.raises(StatusError) as old:
            store.check(5)
        assert (old.value.code, old.value.reason) == (410, "Expired")
        with pytest.raises(StatusError) as new:
            store.check(store.rv + 1)
        assert new.value.code == 504
        assert new.value.status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
        assert len(list(store.history.after(store.rv - 2, None))) == 2

    run(None, body)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_past_revision_can_be_listed_and_replayed(steps: list[tuple[str, bool]]) -> None:
    async def body(store: Store) -> None:
        states: dict[int, dict[str, int]] = {store.rv: {}}
        state: dict[str, int] = {}
        for name, keep in steps:
            if keep:
                state = {**state, name: store.put("ConfigMap", name, thing(name)).rv}
            elif name in state:
                store.remove("ConfigMap", name)
                state = {key: rv for key, rv in state.items() if key != name}
            states[store.head_rv] = state
        await store.settled(store.head_rv)
        for rv, wanted in states.items():
            assert {key: item.rv for key, item in store.items_at("ConfigMap", rv)} == wanted
            replayed = dict(wanted)
            for change in store.history.after(rv, None):
                if change.type == "DELETED":
                    del replayed[change.key]
                else:
                    assert (change.type == "MODIFIED") == (change.key in replayed)
                    replayed[change.key] = change.item.rv
            assert replayed == state

    run(None, body)


WRITER = """
import asyncio, sys
from pathlib import Path
from podwire.apiserver.store import Store

async def write(store, worker):
    for count in range(10**6):
        name = f"{worker}-{count}"
        item = store.put("ConfigMap", name, {"kind": "ConfigMap", "metadata": {"name": name}})
        await store.settled(item.rv)
        sys.stdout.write(name + "\\n")
        sys.stdout.flush()

async def main():
    store = Store.open(Path(sys.argv[1]))
    await asyncio.gather(*(write(store, worker) for worker in range(16)))

asyncio.run(main())
"""


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    for round_ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(400)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        process.wait()
        process.stdout.close()

        async def check(store: Store, acknowledged: list[str] = acknowledged) -> None:
            kept = set(names(store))
            assert set(acknowledged) <= kept
            for name in kept:
                store.remove("ConfigMap", name)
            await store.settled(store.head_rv)

        run(path, check)
        assert len(acknowledged) >= 400, round_
