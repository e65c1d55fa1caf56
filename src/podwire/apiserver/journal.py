"""The append log on disk: one SQLite file in WAL mode, written by one thread.

Rules:

1. A batch is acknowledged after its transaction is committed with ``synchronous=FULL``; batches that wait together
   share one commit.
2. After a failed commit every batch of the same epoch fails too: it was computed on state that does not exist. The
   authority resets itself and goes on in the next epoch.
3. A row that a later row of the same object supersedes is dead. Dead rows are deleted in order of revision, so that a
   tombstone never goes before what it deletes; the highest revision is kept in ``meta``.
4. The file is 0600 in a 0700 folder and belongs to one process at a time.

Spec: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from podwire.base import EnvironmentUnfit

Row = tuple[int, str, str, bytes | None]
"""Revision, kind, key, and the object as JSON (None: removed)."""

FORMAT = 1
KEEP_DEAD = 8192
"""Dead rows allowed before half of them are deleted."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (rv INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class Batch:
    """Rows that are committed together, and the epoch of the authority they were computed in."""

    __slots__ = ("epoch", "rows", "token")

    def __init__(self, epoch: int, rows: list[Row], token: object) -> None:
        """``token`` comes back to the authority with the outcome."""
        self.epoch = epoch
        self.rows = rows
        self.token = token


Done = Callable[[list[Batch], BaseException | None], None]


class Journal:
    """The log. ``rows`` first, then ``start``, ``append`` any number of times, ``close``."""

    def __init__(self, path: Path) -> None:
        """Open or create. Raises :class:`EnvironmentUnfit` when the file is another process' or unreadable."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._live: dict[tuple[str, str], int] = {}
        self._dead: deque[int] = deque()
        self._broken_epoch = -1
        self._last = 0
        self._thread: Thread | None = None
        self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.5)
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._base.close()
            raise EnvironmentUnfit(f"cannot open the object store {path}: {error}") from error

    def _prepare(self) -> None:
        self._base.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.execute("PRAGMA synchronous=FULL")
        found = self._base.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise sqlite3.DatabaseError(f"written by a newer podwire (format {found})")
        self._base.executescript(_SCHEMA)
        self._base.execute(f"PRAGMA user_version={FORMAT}")

    def rows(self) -> Iterator[Row]:
        """Every row, oldest first. Call once, before ``start``."""
        for rv, kind, key, value in self._base.execute("SELECT rv, kind, key, value FROM log ORDER BY rv"):
            self._note(rv, kind, key, removed=value is None)
            yield rv, kind, key, value

    @property
    def last(self) -> int:
        """The highest revision ever committed; complete after ``rows``."""
        row = self._base.execute("SELECT value FROM meta WHERE name='rv'").fetchone()
        return max(self._last, row[0] if row else 0)

    def start(self, done: Done) -> None:
        """Start the writer; ``done`` is called in its thread."""
        self._thread = Thread(target=self._run, args=(done,), name="podwire-store", daemon=True)
        self._thread.start()

    def append(self, batch: Batch) -> None:
        """Queue a batch; never blocks."""
        self._queue.put(batch)

    def close(self) -> None:
        """Commit what is queued and release the file."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
        self._base.close()

    def _run(self, done: Done) -> None:
        while (first := self._queue.get()) is not None:
            batches, more = [first], True
            while more:
                try:
                    following = self._queue.get_nowait()
                except Empty:
                    break
                if following is None:
                    more = False
                    self._queue.put(None)
                else:
                    batches.append(following)
            self._write(batches, done)

    def _write(self, batches: list[Batch], done: Done) -> None:
        stale = [batch for batch in batches if batch.epoch == self._broken_epoch]
        fresh = [batch for batch in batches if batch.epoch != self._broken_epoch]
        if stale:
            done(stale, sqlite3.OperationalError("an earlier write of the same moment failed"))
        if not fresh:
            return
        try:
            self._commit(fresh)
        except sqlite3.Error as error:
            self._broken_epoch = fresh[-1].epoch
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            done(fresh, error)
        else:
            done(fresh, None)

    def _commit(self, batches: list[Batch]) -> None:
        self._base.execute("BEGIN IMMEDIATE")
        for batch in batches:
            self._base.executemany("INSERT INTO log (rv, kind, key, value) VALUES (?, ?, ?, ?)", batch.rows)
        if len(self._dead) > KEEP_DEAD:
            self._forget()
        self._base.execute("COMMIT")
        for batch in batches:
            for rv, kind, key, value in batch.rows:
                self._note(rv, kind, key, removed=value is None)

    def _note(self, rv: int, kind: str, key: str, *, removed: bool) -> None:
        self._last = rv
        before = self._live.pop((kind, key), None)
        if before is not None:
            self._dead.append(before)
        if removed:
            self._dead.append(rv)
        else:
            self._live[kind, key] = rv

    def _forget(self) -> None:
        gone = [(self._dead.popleft(),) for _ in range(KEEP_DEAD // 2)]
        self._base.executemany("DELETE FROM log WHERE rv = ?", gone)
        self._base.execute("INSERT OR REPLACE INTO meta VALUES ('rv', ?)", (self._last,))
