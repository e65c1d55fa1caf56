"""Connections of containers that outlive podwire: through kill -9, through a stop, through the next start."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.kernel.cni_rig import Network, container, echo_server, plugin_of
from tests.kernel.test_cni import SERVICE, labels

from podwire.node import list_clusters, netns
from podwire.testing.process import RunningPodwire, eventually, running_podwire

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.compat,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]


def opened(space: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    descriptor = os.open(space, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with netns.inside(descriptor):
            made = socket.socket(socket.AF_INET, kind)
    finally:
        os.close(descriptor)
    made.settimeout(10)
    return made


class Knocking:
    """New connections one after the other in a thread, from entry to exit; every one must be answered."""

    def __init__(self, space: str, address: str, port: int) -> None:
        self._space, self._to = space, (address, port)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._knock)
        self.failures: list[str] = []
        self.answered = 0

    def _knock(self) -> None:
        while not self._ending.is_set():
            with closing(opened(self._space)) as one:
                try:
                    one.connect(self._to)
                    one.sendall(b"new")
                    if one.recv(16) != b"new":
                        raise OSError("another answer")
                    self.answered += 1
                except OSError as error:
                    self.failures.append(repr(error))

    def __enter__(self) -> "Knocking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()


def kill(running: RunningPodwire) -> None:
    running.kill()


def stop(running: RunningPodwire) -> None:
    assert running.stop() == 0


@pytest.mark.parametrize(("end", "network"), [(kill, "host-gw"), (kill, "vxlan"), (stop, "host-gw")])
def test_connections_go_on_and_new_ones_are_made(
    tmp_path: Path, end: Callable[[RunningPodwire], None], network: str
) -> None:
    manifest = tmp_path / "service.yaml"
    manifest.write_text(SERVICE)
    arguments = ("--network", network)
    with (
        running_podwire([manifest], *arguments) as running,
        container() as (server, there),
        container() as (client, here),
        container() as (stranger, elsewhere),
    ):
        serving = Network([plugin_of(running.home, running.name, "node-1", **labels(app="echo"))])
        asking = Network([plugin_of(running.home, running.name, "node-2", **labels(friend="yes"))])
        strange = Network([plugin_of(running.home, running.name, "node-2")])
        address = serving.add(server, there)["ips"][0]["address"].removesuffix("/32")
        asking.add(client, here)
        strange.add(stranger, elsewhere)
        vip = running.get("service", "echo")["spec"]["clusterIP"]
        with (
            echo_server(there, address, 7000),
            closing(opened(here)) as talking,
            closing(opened(here, socket.SOCK_DGRAM)) as sending,
        ):
            eventually(lambda: _answers(here, vip))
            talking.connect((vip, 80))
            sending.connect((vip, 53))
            with Knocking(here, vip, 80) as knocking:
                for word in (b"before", b"while", b"after"):
                    if word == b"while":
                        end(running)
                        assert running.name in list_clusters()
                    if word == b"after":
                        running.up(*arguments)
                    for one in (talking, sending):
                        one.sendall(word)
                        assert one.recv(16) == word
                    assert not _answers(elsewhere, vip)  # the policy is in force all the time, too
                seen = knocking.answered
                eventually(lambda: knocking.answered > seen + 20)
            # On a machine with eight times too much to do at least three takeovers lost one new connection each, for a
            # reason not known yet; established ones never broke. So this does not show a gap of nothing.
            assert len(knocking.failures) <= 1, knocking.failures
            serving.check(server, there)
            # What comes next is executed by the process that took over.
            running.kubectl("label", "pod", f"cni-{stranger}", "friend=yes")
            eventually(lambda: _answers(elsewhere, vip))
        for attached, who, space in ((serving, server, there), (asking, client, here), (strange, stranger, elsewhere)):
            attached.delete(who, space)
        stop(running)
        assert running.name not in list_clusters()  # nobody is attached: nothing is left


def _answers(space: str, vip: str) -> bool:
    with closing(opened(space)) as one:
        one.settimeout(1.5)
        try:
            one.connect((vip, 80))
            one.sendall(b"x")
            return one.recv(1) == b"x"
        except OSError:
            return False
