"""``kill -9`` at any moment loses no acknowledged write, and no revision is given twice."""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podwire.apiserver import ApiServer, ApiSettings

WRITERS = 6
WRITER = """
import asyncio, sys
from pathlib import Path
from podwire.apiserver import ApiServer, ApiSettings

def body(name, step):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"},
            "data": {"step": str(step)}}

async def write(server, number):
    name, step = f"w{number}", 0
    while True:
        for verb in (server.create, server.update):
            done = await verb(body(name, step))
            print(number, step, done["metadata"]["resourceVersion"], flush=True)
            step += 1
        done = await server.delete("ConfigMap", "default", name)
        print(number, step, done["metadata"]["resourceVersion"], flush=True)
        step += 1

async def main():
    server = ApiServer(ApiSettings(directory=Path(sys.argv[1]), addresses=()))
    await server.start()
    await asyncio.gather(*(write(server, number) for number in range(WRITERS)))

asyncio.run(main())
""".replace("WRITERS", str(WRITERS))


def acknowledged(directory: Path, lines: int) -> tuple[dict[int, int], int]:
    """Run the writers, kill them after ``lines`` acknowledgements; the last step of each, and the highest revision."""
    command = [sys.executable, "-c", WRITER, str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last, highest = dict.fromkeys(range(WRITERS), -1), 0
    for count, line in enumerate(process.stdout):
        if count == lines:
            process.kill()
        if line.endswith("\n") and len(line.split()) == 3:
            writer, step, rv = map(int, line.split())
            last[writer], highest = step, max(highest, rv)
    process.wait()
    process.stdout.close()
    return last, highest


async def stored(directory: Path) -> tuple[dict[int, int], int]:
    """The step each writer's object shows after a restart (-1: there is none), and the next revision."""
    server = ApiServer(ApiSettings(directory=directory, addresses=()))
    await server.start()
    try:
        found = {}
        for writer in range(WRITERS):
            value = server.get("ConfigMap", "default", f"w{writer}")
            found[writer] = int(value["data"]["step"]) if value else -1
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "next", "namespace": "default"}}
        return found, int((await server.create(body))["metadata"]["resourceVersion"])
    finally:
        await server.stop()


def shown(step: int) -> int:
    """What the store shows when ``step`` was the last: every third one deletes."""
    return -1 if step < 0 or step % 3 == 2 else step


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 400))
def test_no_acknowledged_write_is_lost(lines: int) -> None:
    with tempfile.TemporaryDirectory(prefix="podwire-killed-") as path:
        last, highest = acknowledged(Path(path), lines)
        found, following = asyncio.run(stored(Path(path)))
        assert following > highest
        for writer, step in last.items():
            # The write under way may have been stored without anybody having been told.
            assert found[writer] in (shown(step), shown(step + 1)), (writer, step, found)
