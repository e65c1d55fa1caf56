"""A podwire process under measurement: started cold, observed from outside, taken down."""

import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHOP = Path(__file__).parents[1] / "examples" / "shop"
TIMEOUT_SECONDS = 120


class Measured:
    """A running ``podwire up``."""

    def __init__(self, process: subprocess.Popen[str], started: float, lines: list[str]) -> None:
        self.process = process
        self.started = started
        self.ready = time.monotonic()
        self.lines = lines

    @property
    def seconds(self) -> float:
        """From starting the process to the line that says networking is ready."""
        return self.ready - self.started

    def ingress_address(self) -> str:
        """The address of the Ingress controller's load balancer."""
        line = next(text for text in self.lines if text.endswith("ingress-nginx/ingress-nginx-controller"))
        return line.split()[2].rpartition(":")[0]

    def memory_bytes(self) -> dict[str, int]:
        """Proportional set size by program of the process and everything below it."""
        found: dict[str, int] = {}
        for pid in _tree(self.process.pid):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            kilobytes = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            found[name] = found.get(name, 0) + kilobytes * 1024
        return found


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


@contextmanager
def running(*arguments: str) -> Iterator[Measured]:
    """``podwire up`` with ``arguments`` in a home of its own; ready on entry, gone on exit."""
    name = f"bench-{os.getpid()}"
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "PODWIRE_HOME": home}
        command = [sys.executable, "-m", "podwire"]
        started = time.monotonic()
        process = subprocess.Popen(
            [*command, "up", "--name", name, "--timeout", str(TIMEOUT_SECONDS), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            if "networking ready" not in first:
                raise SystemExit(f"podwire did not become ready: {first}")
            ready = time.monotonic()
            lines = [first]
            while "kubeconfig" not in lines[-1]:
                lines.append(process.stdout.readline().rstrip())
            measured = Measured(process, started, lines)
            measured.ready = ready
            yield measured
        finally:
            process.terminate()
            process.wait()
            subprocess.run([*command, "down", "--name", name], env=environment, stdout=subprocess.DEVNULL, check=True)


def https_get(address: str, host: str, path: str) -> str:
    """The body of one HTTPS request, or an exception."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address, 443), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        secure.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := secure.recv(65536):
            answer += part
    head, _, body = answer.decode().partition("\r\n\r\n")
    if " 200 " not in head.split("\r\n")[0]:
        raise SystemExit(f"the Ingress answered: {head}")
    return body


def report(name: str, value: float, unit: str, *, peer: tuple[str, float] | None = None) -> None:
    """The last line: JSON, with the peer's name and value beside it where one ran in the same run."""
    line: dict[str, object] = {"name": name, "value": round(value, 3), "unit": unit, "peer": None}
    line |= {"peer_value": None, "ratio": None}
    if peer:
        line |= {"peer": peer[0], "peer_value": round(peer[1], 3), "ratio": round(value / peer[1], 4)}
    print(json.dumps(line), flush=True)
