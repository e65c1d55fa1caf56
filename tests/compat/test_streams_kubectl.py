"""Stock kubectl: logs, exec, attach, port-forward, over WebSocket and over SPDY."""

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.compat.streams_rig import Rig

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed"),
]

SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
CARRIERS = pytest.mark.parametrize("env", [{}, SPDY], ids=["websocket", "spdy"])


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("streams"))
    made.pod("one")
    made.pod("two", "main", "side")
    made.pod("quiet", "silent")
    made.pod("pulling", phase="Pending", containerStatuses=[
        {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff"}}, "ready": False, "restartCount": 0,
         "image": "x", "imageID": ""}
    ])  # fmt: skip
    yield made
    made.stop()


@CARRIERS
def test_exec_prints_both_streams_and_passes_the_exit_code_on(rig: Rig, env: dict[str, str]) -> None:
    done = rig.kubectl("exec", "one", "--", "sh", "-c", "echo out; echo err >&2; exit 3", env=env)
    assert done.stdout == b"out\n"
    assert done.stderr.startswith(b"err\n")
    assert done.returncode == 3


@CARRIERS
def test_exec_carries_input_and_its_end(rig: Rig, env: dict[str, str]) -> None:
    data = os.urandom(700_000)
    done = rig.kubectl("exec", "-i", "one", "--", "sha256sum", stdin=data, env=env)
    wanted = subprocess.run(["sha256sum"], input=data, capture_output=True, check=True).stdout
    assert (done.returncode, done.stdout) == (0, wanted)


@CARRIERS
def test_exec_carries_much_output_whole(rig: Rig, env: dict[str, str]) -> None:
    done = rig.kubectl("exec", "one", "--", "head", "-c", "5000000", "/dev/zero", env=env)
    assert (done.returncode, len(done.stdout)) == (0, 5_000_000)


@CARRIERS
def test_attach(rig: Rig, env: dict[str, str]) -> None:
    done = rig.kubectl("attach", "-i", "one", stdin=b"hello\n", env=env)
    assert done.stdout == b"attached\nhello\n", done.stderr


@CARRIERS
def test_a_terminal_has_a_size(rig: Rig, env: dict[str, str]) -> None:
    import pty
    import struct
    from fcntl import ioctl
    from termios import TIOCSWINSZ

    parent, child = pty.openpty()
    ioctl(child, TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    words = rig.command("exec", "-it", "one", "--", "sh", "-c", "read x; echo got $x")
    process = subprocess.Popen(words, stdin=child, stdout=child, stderr=child, env=rig.environment(**env))
    os.close(child)
    os.write(parent, b"word\n")
    seen = b""
    while b"got word" not in seen:
        seen += os.read(parent, 4096)
    assert process.wait(30) == 0
    os.close(parent)
    assert (111, 33) in rig.backend.sessions[-1].sizes


@CARRIERS
def test_a_container_that_does_not_run_is_named(rig: Rig, env: dict[str, str]) -> None:
    done = rig.kubectl("exec", "quiet", "--", "true", env=env)
    assert done.returncode == 1
    assert b'container "silent" is not running' in done.stderr


@CARRIERS
def test_cp_both_ways(rig: Rig, tmp_path: Path, env: dict[str, str]) -> None:
    data = os.urandom(300_000)
    (tmp_path / "here").write_bytes(data)
    (tmp_path / "there").mkdir()
    done = rig.kubectl("cp", str(tmp_path / "here"), f"one:{tmp_path}/there/copy", env=env)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "there" / "copy").read_bytes() == data
    done = rig.kubectl("cp", f"one:{tmp_path}/there/copy", str(tmp_path / "back"), env=env)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_bytes() == data


def test_leaving_ends_the_command(rig: Rig) -> None:
    words = rig.command("exec", "one", "--", "sh", "-c", "echo started; exec sleep 600")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=rig.environment())
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    session = rig.backend.sessions[-1]
    process.kill()
    process.wait(30)
    process.stdout.close()
    rig.call(session.process.wait())
    assert session.killed


@CARRIERS
def test_port_forward_carries_requests_and_says_what_fails(rig: Rig, env: dict[str, str]) -> None:
    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"x" * 300_000
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    words = rig.command("port-forward", "pod/one", f":{server.server_port}", f":{unused_port()}")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=rig.environment(**env)) as process:
        assert process.stdout and process.stderr
        ports: dict[str, int] = {}
        while len(ports) < 2:
            line = process.stdout.readline().decode()
            assert line, process.stderr.read()
            if "127.0.0.1" in line:
                local, remote = line.split("127.0.0.1:")[1].split(" -> ")
                ports[remote.strip()] = int(local)
        good = ports.pop(str(server.server_port))
        for _ in range(5):
            with urllib.request.urlopen(f"http://127.0.0.1:{good}/", timeout=20) as answer:
                assert len(answer.read()) == 300_000
        (bad,) = ports.values()
        with closing(socket.create_connection(("127.0.0.1", bad), timeout=20)) as refused:
            assert refused.recv(1) == b""
        process.wait(30)
        assert b"connection refused by port" in process.stderr.read()
    server.shutdown()
    server.server_close()


def unused_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def test_logs(rig: Rig) -> None:
    rig.backend.lines.clear()
    for number in range(5):
        rig.do(rig.backend.log, f"line {number}\n", at=1_700_000_000.25 + number)
    assert rig.kubectl("logs", "one").stdout == b"".join(b"line %d\n" % n for n in range(5))
    assert rig.kubectl("logs", "one", "--tail=2").stdout == b"line 3\nline 4\n"
    assert rig.kubectl("logs", "one", "--limit-bytes=9").stdout == b"line 0\nli"
    assert rig.kubectl("logs", "one", "--since-time=2023-11-14T22:13:23Z").stdout == b"line 3\nline 4\n"
    assert rig.kubectl("logs", "one", "--since=1h").stdout == b""
    stamped = rig.kubectl("logs", "one", "--timestamps", "--tail=1").stdout
    assert stamped == b"2023-11-14T22:13:24.250000000Z line 4\n"


def test_logs_of_the_previous_run_need_one(rig: Rig) -> None:
    done = rig.kubectl("logs", "one", "--previous")
    assert done.returncode == 1
    assert b'previous terminated container "main" in pod "one" not found' in done.stderr


def test_logs_say_why_there_are_none(rig: Rig) -> None:
    assert b"is waiting to start: trying and failing to pull image" in rig.kubectl("logs", "pulling").stderr
    assert b'container "silent" has not started yet' in rig.kubectl("logs", "quiet").stderr
    raw = rig.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/two/log")
    assert b"a container name must be specified for pod two, choose one of: [main side]" in raw.stderr
    raw = rig.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/two/log?container=none")
    assert b"container none is not valid for pod two" in raw.stderr


def test_following_shows_lines_as_they_come(rig: Rig) -> None:
    rig.backend.lines.clear()
    rig.do(rig.backend.log, "old\n")
    rig.do(rig.backend.log, "last\n")
    process = subprocess.Popen(
        rig.command("logs", "-f", "one", "--tail=1"), stdout=subprocess.PIPE, env=rig.environment()
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"last\n"
    rig.do(rig.backend.log, "new\n")
    assert process.stdout.readline() == b"new\n"
    rig.backend.log_ended = True
    rig.do(rig.backend.more.set)
    assert process.wait(30) == 0
    process.stdout.close()
    rig.backend.log_ended = False
