"""Embedded clusters for tests: up, used, gone, in a home of their own."""

import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from podwire.cluster.embedded import EmbeddedCluster
from podwire.cluster.home import ClusterHome
from podwire.cluster.system import NodeLayout

READY_SECONDS = 120.0


class NotReady(AssertionError):
    """The cluster did not become ready; the message says what it waited for."""


@contextmanager
def private_home() -> Iterator[Path]:
    """A fresh ``$PODWIRE_HOME``."""
    before = os.environ.get("PODWIRE_HOME")
    with tempfile.TemporaryDirectory(prefix="podwire-test-") as path:
        os.environ["PODWIRE_HOME"] = path
        try:
            yield Path(path)
        finally:
            if before is None:
                del os.environ["PODWIRE_HOME"]
            else:
                os.environ["PODWIRE_HOME"] = before


@asynccontextmanager
async def running_cluster(
    objects: Sequence[dict[str, Any]],
    *,
    layout: NodeLayout | None = None,
    refusals: bool = False,
    external_ips: bool = False,
) -> AsyncIterator[EmbeddedCluster]:
    """An embedded cluster with ``objects`` applied and networking ready. Refused objects fail the test."""
    with private_home():
        home = ClusterHome(f"t{uuid.uuid4().hex[:10]}")
        home.open()
        cluster = EmbeddedCluster(home, layout, allow_external_ips=external_ips)
        try:
            await cluster.start()
            refused = await cluster.apply(objects)
            if refused and not refusals:
                raise NotReady("; ".join(map(str, refused)))
            waiting = await cluster.wait_ready(READY_SECONDS)
            if waiting:
                raise NotReady("; ".join(waiting))
            yield cluster
            if cluster.bugs:
                raise AssertionError("; ".join(cluster.bugs))
        finally:
            await cluster.close()
            home.close()
