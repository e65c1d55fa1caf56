"""``podwire up`` as a process, the way users run it: for tests that kill it or look at it with stock clients."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
DEADLINE_SECONDS = 60.0
PAUSE_SECONDS = 0.05


class RunningPodwire:
    """One process and its home."""

    def __init__(self, home: Path, name: str) -> None:
        """Nothing runs yet."""
        self.home = home
        self.name = name
        self.environment = {
            **os.environ,
            "PODWIRE_HOME": str(home),
            "KUBECONFIG": str(home / name / "kubeconfig"),
            "HOME": str(home),
        }
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []

    def up(self, *arguments: str) -> None:
        """Start and wait for the end of the readiness report. Raises :class:`AssertionError` with the output else."""
        command = [sys.executable, "-m", "podwire", "up", "--name", self.name, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment)
        self.lines = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if "kubeconfig" in line:
                return
        raise AssertionError(f"podwire ended with {self.process.wait()}: {self.lines}")

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        return self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(DEADLINE_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code

    def run(self, *command: str, text_input: str = "", timeout_seconds: float = DEADLINE_SECONDS) -> str:
        """A client's standard output; it must succeed."""
        done = self.attempt(*command, text_input=text_input, timeout_seconds=timeout_seconds)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def attempt(
        self, *command: str, text_input: str = "", timeout_seconds: float = DEADLINE_SECONDS
    ) -> "subprocess.CompletedProcess[str]":
        """Run a client; ``podwire`` means this checkout's."""
        argv = [sys.executable, "-m", "podwire", *command[1:]] if command[0] == "podwire" else list(command)
        return subprocess.run(
            argv, capture_output=True, text=True, env=self.environment, input=text_input, timeout=timeout_seconds
        )

    def kubectl(self, *arguments: str, text_input: str = "") -> str:
        """``kubectl``, which must succeed."""
        return self.run("kubectl", *arguments, text_input=text_input)

    def inside(self, pod: str, *command: str) -> str:
        """``kubectl exec`` in ``namespace/pod``."""
        namespace, _, name = pod.partition("/")
        return self.kubectl("exec", "-n", namespace, name, "--", *command)

    def get(self, *arguments: str) -> dict[str, Any]:
        """``kubectl get -o json``."""
        value: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return value

    def address(self, service: str) -> str:
        """The load balancer address of ``namespace/service``."""
        namespace, _, name = service.partition("/")
        return str(self.get("service", "-n", namespace, name)["status"]["loadBalancer"]["ingress"][0]["ip"])


def eventually(look: Callable[[], T], wanted: Callable[[T], bool] = bool) -> T:
    """Look until ``wanted`` holds; the deadline is generous because it only matters when something is broken."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        seen = look()
        if wanted(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"never came: last seen {seen!r}")
        time.sleep(PAUSE_SECONDS)


@contextmanager
def running_podwire(paths: Sequence[Path] = (), *arguments: str) -> Iterator[RunningPodwire]:
    """Up with manifests on entry; down, and nothing left, on exit."""
    with tempfile.TemporaryDirectory(prefix="podwire-test-") as home:
        running = RunningPodwire(Path(home), f"p{uuid.uuid4().hex[:10]}")
        try:
            running.up(*(word for path in paths for word in ("-f", str(path))), *arguments)
            yield running
        finally:
            if running.process is not None:
                running.stop()
            running.run("podwire", "down", "--name", running.name)
