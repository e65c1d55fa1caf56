"""What stream requests mean, and the words of their refusals."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from podwire.apiserver.status import StatusError
from podwire.apiserver.streams.logs import format_time, read_options
from podwire.apiserver.streams.mux import Connection, Stream
from podwire.apiserver.streams.outcome import broken, encode, ended
from podwire.apiserver.streams.portforward import read_ports
from podwire.apiserver.streams.spdy import Data, Framer, GoAway, Ping, Reset, SynReply, data_frames, ping_frame
from podwire.apiserver.streams.target import check_assigned, check_logged, check_running, container_of


def pod(*containers: str, init: tuple[str, ...] = (), statuses: tuple[Any, ...] = (), **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {
            "containers": [{"name": name} for name in containers],
            "initContainers": [{"name": name} for name in init],
            **spec,
        },
        "status": {"containerStatuses": list(statuses)},
    }


def refusal(function: Any, *args: Any, **named: Any) -> tuple[int, str]:
    with pytest.raises(StatusError) as error:
        function(*args, **named)
    return error.value.code, str(error.value)


def test_the_only_container_needs_no_name() -> None:
    assert container_of(pod("a"), "") == "a"
    assert container_of(pod("a", "b", init=("i",)), "i") == "i"


def test_several_containers_must_be_chosen_from() -> None:
    text = "a container name must be specified for pod p, choose one of: [a b]"
    assert refusal(container_of, pod("a", "b"), "") == (400, text)
    assert refusal(container_of, pod("a", "b", init=("i",)), "")[1] == f"{text} or one of the init containers: [i]"
    assert refusal(container_of, pod("a"), "x") == (400, "container x is not valid for pod p")


def status(**state: Any) -> dict[str, Any]:
    return {"name": "a", **state}


@pytest.mark.parametrize(
    ("statuses", "previous", "words"),
    [
        ((), False, 'container "a" in pod "p" is waiting to start: ContainerCreating'),
        ((status(state={"waiting": {"reason": "ErrImagePull"}}),), False, "image can't be pulled"),
        ((status(state={"waiting": {"reason": "PodInitializing"}}),), False, "waiting to start: PodInitializing"),
        ((status(state={"running": {}}),), True, 'previous terminated container "a" in pod "p" not found'),
        ((status(state={"running": {}}),), False, ""),
        ((status(state={"terminated": {"exitCode": 0}}),), False, ""),
        ((status(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {}}),), False, ""),
        ((status(state={"running": {}}, lastState={"terminated": {}}),), True, ""),
    ],
)
def test_who_has_a_log(statuses: tuple[Any, ...], previous: bool, words: str) -> None:
    if words:
        code, text = refusal(check_logged, pod("a", statuses=statuses), "a", previous=previous)
        assert code == 400
        assert words in text
    else:
        check_logged(pod("a", statuses=statuses), "a", previous=previous)


def test_pods_that_cannot_run_anything() -> None:
    assert refusal(check_assigned, pod("a")) == (400, "pod p does not have a host assigned")
    done = {**pod("a"), "status": {"phase": "Succeeded"}}
    text = "cannot open streams to a completed pod; current phase is Succeeded"
    assert refusal(check_running, done) == (400, text)


def test_log_options() -> None:
    options = read_options({"sinceSeconds": "10", "tailLines": "0", "follow": "true", "timestamps": "1"}, 100.0)
    assert (options.since, options.tail, options.follow, options.timestamps) == (90.0, 0, True, True)
    assert read_options({"sinceTime": "2026-01-01T00:00:00Z"}, 0).since == 1767225600
    assert read_options({"sinceTime": "2026-01-01T01:00:00+01:00"}, 0).since == 1767225600
    assert read_options({"stream": "Stdout"}, 0).stream == "stdout"


def test_times_of_lines() -> None:
    assert format_time(1_700_000_000.000001) == b"2023-11-14T22:13:20.000001000Z"
    assert format_time(1_699_999_999.9999999) == b"2023-11-14T22:13:20.000000000Z"


def test_outcomes() -> None:
    assert ended(0)["status"] == "Success"
    failed = ended(3)
    assert failed["message"].endswith("exit code 3")
    assert encode(ended(0), structured=False) == b""
    assert encode(broken("lost"), structured=False) == b"lost"
    assert b'"ExitCode"' in encode(failed, structured=True)


def test_ports() -> None:
    assert read_ports(["80", "443,8080"]) == [80, 443, 8080]
    for bad in ([], ["x"], ["0"], ["65536"], ["80,"], ["1"] * 65, ["٣"]):
        assert refusal(read_ports, bad)[0] == 400


class Peer:
    """The other end of a connection: what it sends is a list, what it gets is parsed."""

    def __init__(self) -> None:
        self.framer = Framer()
        self.got: list[Any] = []
        self.sends: list[bytes] = []

    async def write(self, data: bytes) -> None:
        self.got += self.framer.feed(data)

    async def source(self) -> AsyncIterator[bytes]:
        for data in self.sends:
            yield data


def drive(peer: Peer) -> list[Stream]:
    """Run a connection over all the peer sends; the streams it opened."""
    import asyncio

    async def main() -> list[Stream]:
        connection = Connection(peer.write)
        await connection.run(peer.source())
        streams = []
        while (stream := await connection.accept()) is not None:
            streams.append(stream)
        return streams

    return asyncio.run(main())


def test_streams_are_answered_and_their_bytes_wait() -> None:
    import asyncio

    peer = Peer()
    peer.sends = [
        peer.framer.syn_stream(1, {"streamType": "data"}) + data_frames(1, b"ab"),
        data_frames(1, b"c", fin=True) + data_frames(1, b"late") + ping_frame(1) + ping_frame(2),
    ]
    (stream,) = drive(peer)
    assert stream.headers == {"streamtype": "data"}
    assert peer.got == [SynReply(1, {}), Ping(1)]

    async def rest() -> list[bytes]:
        return [await stream.read() for _ in range(4)]

    assert asyncio.run(rest()) == [b"ab", b"c", b"", b""]


@pytest.mark.parametrize("numbers", [(2,), (3, 1), (1, 1)])
def test_streams_out_of_order_end_the_connection(numbers: tuple[int, ...]) -> None:
    peer = Peer()
    peer.sends = [peer.framer.syn_stream(number, {}) for number in numbers]
    drive(peer)
    assert isinstance(peer.got[-1], GoAway)


def test_data_for_no_stream_is_dropped() -> None:
    peer = Peer()
    peer.sends = [data_frames(5, b"x")]
    assert drive(peer) == []
    assert not [frame for frame in peer.got if isinstance(frame, Data | Reset)]
