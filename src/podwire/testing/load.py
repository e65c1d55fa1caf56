"""HTTP clients under which something is changed: every request that a careful client would have lost is kept.

Rules:

1. A client keeps its connection, closes it itself now and then, and opens another when the server says ``Connection:
   close`` or has closed it.
2. A request on a kept connection that ends before the first byte of an answer is sent once more on a new connection: it
   may have crossed the server's closing (RFC 9112, sections 9.3.1 and 9.5). Everything else that fails is lost.
"""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

KEPT_REQUESTS = 25
TIMEOUT_SECONDS = 10.0


class Load(msgspec.Struct):
    """What the clients saw so far. ``stop`` ends them."""

    answered: int = 0
    retried: int = 0
    lost: list[str] = msgspec.field(default_factory=list)
    seen: set[str] = msgspec.field(default_factory=set)
    """Distinct answers, as ``read`` names them."""


class _Client:
    def __init__(self, address: str, port: int, load: Load, read: Callable[[bytes], str]) -> None:
        self._place = (address, port)
        self._load = load
        self._read = read
        self._connection: http.client.HTTPConnection | None = None
        self._sent = 0

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._ask()
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._sent = 0

    def _ask(self) -> None:
        kept = self._connection is not None
        try:
            self._request()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            self._close()
            if not kept:
                self._load.lost.append(f"new connection: {error!r}")
                return
            self._load.retried += 1
            self._ask()
        except (OSError, http.client.HTTPException) as error:
            self._close()
            self._load.lost.append(repr(error))

    def _request(self) -> None:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self._place, timeout=TIMEOUT_SECONDS)
        self._connection.request("GET", "/")
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            self._load.lost.append(f"status {answer.status}")
        self._load.answered += 1
        self._load.seen.add(self._read(body))
        self._sent += 1
        if answer.will_close or self._sent >= KEPT_REQUESTS:
            self._close()


@contextmanager
def under_load(
    address: str, port: int, *, clients: int = 4, read: Callable[[bytes], str] = lambda body: ""
) -> Iterator[Load]:
    """Clients that ask ``address`` again and again while the block runs. ``read`` names who answered."""
    load, stop = Load(), threading.Event()
    runs = (_Client(address, port, load, read).run for _ in range(clients))
    threads = [threading.Thread(target=run, args=(stop,), daemon=True) for run in runs]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join(2 * TIMEOUT_SECONDS)
