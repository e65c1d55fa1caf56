"""``podwire exec NS/POD -- CMD``: the exec stream of the Kubernetes API, for machines without kubectl."""

import argparse
import asyncio
import json
import sys
from typing import Any

from podwire.base import EnvironmentUnfit

STDOUT, STDERR, ERROR = 1, 2, 3


def run(args: argparse.Namespace) -> int:
    """The command's own exit code."""
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    namespace, slash, pod = args.pod.partition("/")
    if not slash or not pod or not command:
        raise EnvironmentUnfit("write: podwire exec NAMESPACE/POD -- COMMAND [ARGUMENT ...]")
    return asyncio.run(_exec(args, namespace, pod, command))


async def _exec(args: argparse.Namespace, namespace: str, pod: str, command: list[str]) -> int:
    from podwire.client.kubeconfig import read_kubeconfig
    from podwire.client.rest import RestClient
    from podwire.cluster.home import ClusterHome

    home = ClusterHome(args.name)
    if home.pid() is None:
        raise EnvironmentUnfit(f"cluster {args.name!r} is not running: podwire up --name {args.name}")
    async with RestClient(read_kubeconfig(home.kubeconfig)) as client:
        container = args.container or await _first_container(client, namespace, pod)
        query = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", w) for w in command)]
        url = client.url(f"/api/v1/namespaces/{namespace}/pods/{pod}/exec")
        async with client.session.ws_connect(url, params=query, protocols=("v5.channel.k8s.io",)) as socket:
            async for message in socket:
                code = _take(message.data)
                if code is not None:
                    return code
    return 1


async def _first_container(client: Any, namespace: str, pod: str) -> str:
    value = await client.get(f"/api/v1/namespaces/{namespace}/pods/{pod}")
    return str(value["spec"]["containers"][0]["name"])


def _take(frame: Any) -> int | None:
    """Write one frame out; the exit code when it is the final Status."""
    if not isinstance(frame, bytes) or not frame:
        return None
    channel, data = frame[0], frame[1:]
    if channel in (STDOUT, STDERR):
        stream = sys.stdout if channel == STDOUT else sys.stderr
        stream.buffer.write(data)
        stream.flush()
        return None
    if channel != ERROR:
        return None
    status = json.loads(data)
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    print(f"podwire: {status.get('message')}", file=sys.stderr)
    return 1
