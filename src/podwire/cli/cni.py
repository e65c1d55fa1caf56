"""``podwire-cni``: the CNI plugin (specification 1.1.0), by which a container runtime uses podwire's pod network.

A configuration::

    {"cniVersion": "1.1.0", "name": "podwire", "plugins": [
     {"type": "podwire-cni", "cluster": "podwire", "node": "node-1", "capabilities": {"portMappings": true}}]}

Rules:

1. Everything is asked of the running podwire (:mod:`podwire.node.attach_words`). Without one, ADD says *try again*
   (11), STATUS 50 or, where containers are attached, 51, and DEL and GC tidy up by themselves.
2. A field podwire does not act on is refused with its name and value (error 2), but ``args``, which may be ignored.
3. The pod is ``K8S_POD_NAMESPACE``/``K8S_POD_NAME`` of CNI_ARGS, else ``default`` and a name made of the container's.
   ``args.cni.labels`` become its labels. A pod nobody created is made, and goes with the container.
4. ``prevResult`` is passed on with what this plugin added to it.

Source: containernetworking/cni SPEC.md 1.1.0, CONVENTIONS.md.
"""

import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from podwire.cli.cni_config import Config, Environment, names_of, parse_config, parse_environment
from podwire.cli.cni_result import SUPPORTED, format_error, format_result
from podwire.cluster.home import ClusterHome
from podwire.node.attach_words import (
    BAD_CONFIG,
    BAD_ENVIRONMENT,
    IO_FAILURE,
    LIMITED,
    NOT_DECODED,
    REQUEST_BYTES,
    SOCKET_NAME,
    TRY_AGAIN,
    UNAVAILABLE,
    Answer,
    Key,
    Refused,
    Request,
)

ANSWER_SECONDS = 40.0
_PAUSE_SECONDS = 0.01
Json = dict[str, Any]


def main() -> int:
    """Run the command of ``CNI_COMMAND``; the process's exit code."""
    version = SUPPORTED[-1]
    try:
        data = sys.stdin.buffer.read(REQUEST_BYTES + 1)
        if len(data) > REQUEST_BYTES:
            raise Refused(IO_FAILURE, f"the network configuration is longer than {REQUEST_BYTES} bytes")
        value = _decode(data)
        version = str(value.get("cniVersion", version))
        print(run(os.environ, value), end="")
    except Refused as refused:
        print(format_error(version, refused.answer))
        return 1
    return 0


def _decode(data: bytes) -> Json:
    try:
        return msgspec.json.decode(data or b"{}", type=Json)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(NOT_DECODED, "the network configuration does not parse", str(error)) from error


def run(environ: Mapping[str, str], value: Json) -> str:
    """What goes to standard output. Raises :class:`Refused`."""
    command = environ.get("CNI_COMMAND", "")
    if command == "VERSION":
        said = {"cniVersion": value.get("cniVersion", SUPPORTED[-1]), "supportedVersions": SUPPORTED}
        return msgspec.json.encode(said).decode() + "\n"
    config, environment = parse_config(value), parse_environment(environ)
    match command:
        case "ADD":
            return _add(config, environment)
        case "DEL":
            _take_away(config, [environment.key(config, command)], environment)
        case "CHECK":
            _check(config, environment)
        case "GC":
            _collect(config)
        case "STATUS":
            _status(config)
        case _:
            raise Refused(BAD_ENVIRONMENT, f"CNI_COMMAND: {command!r} is none of ADD, DEL, CHECK, GC, STATUS, VERSION")
    return ""


def _add(config: Config, environment: Environment) -> str:
    namespace, pod = names_of(environment)
    request = Request(
        "add",
        environment.key(config, "ADD"),
        node=config.node,
        namespace=namespace,
        pod=pod,
        address=config.address or environment.address,
        ports=config.ports,
        labels=config.labels,
    )
    answer = _ask(config, request, environment.open_netns())
    if answer is None:
        raise Refused(TRY_AGAIN, f"cluster {config.cluster} is not running", f"podwire up --name {config.cluster}")
    return format_result(config, environment, answer)


def _check(config: Config, environment: Environment) -> None:
    if config.previous is None:
        raise Refused(BAD_CONFIG, "CHECK needs the prevResult of ADD")
    answer = _ask(config, Request("check", environment.key(config, "CHECK")), environment.open_netns())
    if answer is None:
        raise Refused(TRY_AGAIN, f"cluster {config.cluster} is not running")
    address = answer.attachment.addresses[0] if answer.attachment else ""
    told = [str(ip.get("address", "")).partition("/")[0] for ip in config.previous.get("ips") or ()]
    if address not in told:
        raise Refused(
            BAD_CONFIG, f"the container has the address {address}, prevResult says {', '.join(told) or 'none'}"
        )


def _status(config: Config) -> None:
    request = Request("status", Key(config.name, "", ""), node=config.node)
    if _ask(config, request) is not None:
        return
    limited = bool(_store(config).load())
    said = f"cluster {config.cluster} is not running"
    raise Refused(LIMITED if limited else UNAVAILABLE, said, f"podwire up --name {config.cluster}")


def _collect(config: Config) -> None:
    keep = tuple(Key(config.name, a.container_id, a.ifname) for a in config.valid)
    if _ask(config, Request("gc", Key(config.name, "", ""), keep=keep)) is None:
        present = [a.key for a in _store(config).load() if a.key.network == config.name]
        _take_away(config, [key for key in present if key not in keep], None)


def _take_away(config: Config, keys: list[Key], environment: Environment | None) -> None:
    """DEL, by the running podwire or, without one, by hand: the file and the link, as far as they are there."""
    from podwire.node import attach_link

    store = _store(config)
    while keys:
        if _ask(config, Request("del", keys[-1])) is not None:
            keys.pop()
        elif store.hold(wait=False):
            break
        else:  # another plugin at work, or podwire just starting
            time.sleep(_PAUSE_SECONDS)
    if not keys:
        return
    try:
        known = store.load()
        if len(left := [a for a in known if a.key not in keys]) < len(known):
            store.save(left)
    finally:
        store.release()
    if environment is not None and environment.netns and (descriptor := environment.find_netns()) is not None:
        attach_link.remove(descriptor, environment.interface)
        os.close(descriptor)


def _store(config: Config) -> Any:
    from podwire.node.attach_store import AttachmentStore

    home = ClusterHome(config.cluster)
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return AttachmentStore(home.path)


def _ask(config: Config, request: Request, descriptor: int | None = None) -> Answer | None:
    """The answer of the running podwire; None when none runs. Raises :class:`Refused` for a refusal."""
    path = ClusterHome(config.cluster).run / SOCKET_NAME
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as asking:
            asking.settimeout(ANSWER_SECONDS)
            asking.connect(str(path))
            data = msgspec.json.encode(request) + b"\n"
            sent = 0 if descriptor is None else socket.send_fds(asking, [data], [descriptor])
            if sent < len(data):  # an answer may have come by now, and then even sending nothing is a broken pipe
                asking.sendall(data[sent:])
            said = b"".join(iter(lambda: asking.recv(65536), b""))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise Refused(IO_FAILURE, f"podwire does not answer: {error}") from error
    finally:
        if descriptor is not None:
            os.close(descriptor)
    try:
        answer = msgspec.json.decode(said, type=Answer)
    except msgspec.DecodeError as error:
        raise Refused(TRY_AGAIN, "podwire ended before it answered") from error
    if answer.code:
        raise Refused(answer.code, answer.message, answer.details)
    return answer


if __name__ == "__main__":
    raise SystemExit(main())
