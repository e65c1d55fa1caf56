"""core/v1 and events.k8s.io/v1 Events are the same objects."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from podwire.apiserver import ApiServer, ApiSettings

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed"),
]

EVENT = {
    "apiVersion": "events.k8s.io/v1",
    "kind": "Event",
    "metadata": {"name": "web.1", "namespace": "default"},
    "eventTime": "2026-01-01T00:00:00.000001Z",
    "reportingController": "example.com/thing",
    "reportingInstance": "thing-0",
    "action": "Watch",
    "reason": "Seen",
    "type": "Normal",
    "note": "something was seen",
    "regarding": {"kind": "Pod", "namespace": "default", "name": "web", "apiVersion": "v1"},
}


def kubectl(directory: Path, *words: str, stdin: Any = None, code: int = 0) -> str:
    done = subprocess.run(
        ["kubectl", f"--kubeconfig={directory / 'config'}", f"--cache-dir={directory / 'cache'}", *words],
        input=json.dumps(stdin) if stdin else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HOME": str(directory)},
    )
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout + done.stderr


def session(directory: Path) -> None:
    new = "events.v1.events.k8s.io"
    kubectl(directory, "create", "-f", "-", stdin=EVENT)
    core = json.loads(kubectl(directory, "get", "events", "web.1", "-o", "json"))
    assert core["apiVersion"] == "v1" and core["message"] == "something was seen"
    assert core["involvedObject"]["name"] == "web" and core["reportingComponent"] == "example.com/thing"
    back = json.loads(kubectl(directory, "get", new, "web.1", "-o", "json"))
    assert back["apiVersion"] == "events.k8s.io/v1" and back["note"] == "something was seen"
    assert back["regarding"]["name"] == "web" and "message" not in back and "involvedObject" not in back
    table = kubectl(directory, "get", new, "--field-selector=regarding.name=web")
    assert "something was seen" in table and table.startswith("LAST SEEN")
    patch = '{"deprecatedCount":3,"note":"again"}'
    kubectl(directory, "patch", new, "web.1", "--type=merge", "-p", patch)
    core = json.loads(kubectl(directory, "get", "events", "web.1", "-o", "json"))
    assert core["count"] == 3 and core["message"] == "again"
    assert "something" not in kubectl(directory, "events")
    assert "again" in kubectl(directory, "events")
    wrong = {**EVENT, "metadata": {"name": "x", "namespace": "default"}, "message": "core's name"}
    assert 'unknown field "message"' in kubectl(directory, "create", "-f", "-", stdin=wrong, code=1)
    assert "note" in kubectl(directory, "explain", "event", "--api-version=events.k8s.io/v1")
    kubectl(directory, "delete", new, "web.1")
    assert "NotFound" in kubectl(directory, "get", "events", "web.1", code=1)


def test_one_event_in_both_groups(tmp_path: Path) -> None:
    async def main() -> None:
        server = ApiServer(ApiSettings(directory=tmp_path / "api"))
        await server.start()
        try:
            server.kubeconfig.write(tmp_path / "config")
            await asyncio.to_thread(session, tmp_path)
        finally:
            await server.stop()

    asyncio.run(main())
