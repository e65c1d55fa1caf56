"""Lifecycle hooks: what is done right after a container's start and before its stop.

Rules:

1. A hook never raises for a workload's fault; it returns why it failed, or an empty text.
2. As with a kubelet an HTTP hook fails only when there is no answer, and a TCP hook always.
3. A hook ends at the latest with the run it belongs to.

Source: kubernetes ``pkg/kubelet/lifecycle/handlers.go``.
"""

import asyncio
from typing import Any, Final, assert_never

from podwire.node.checks import RunCommand, check_http
from podwire.node.context import PodContext
from podwire.node.work import Run, StandInRun
from podwire.plan.node import ExecCheck, Hook, HttpCheck, Sleep, TcpCheck

_WITHOUT_LIMIT: Final = 24 * 3600.0
_STATUS: Final = "HTTP probe failed with statuscode"


async def run_hook(hook: Hook, run: Run, context: PodContext, run_command: RunCommand) -> str:
    """Carry out a hook of ``run``; why it failed, or an empty text."""
    doing = asyncio.create_task(_dispatch(hook, run, context, run_command))
    either: set[asyncio.Future[Any]] = {doing, run.exited}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if doing.done():
        return doing.result()
    doing.cancel()
    await asyncio.wait({doing})
    return "the container ended before its hook"


async def _dispatch(hook: Hook, run: Run, context: PodContext, run_command: RunCommand) -> str:
    match hook.action:
        case ExecCheck() if isinstance(run, StandInRun):
            context.event_once("Warning", "HookNotRun", "commands of lifecycle hooks are not run on a stand-in")
            return ""
        case ExecCheck() as check:
            return await run_command(check.argv, _WITHOUT_LIMIT)
        case HttpCheck() as check:
            why = await check_http(check, context.node_netns, context.address)
            return "" if why.startswith(_STATUS) else why
        case Sleep() as sleep:
            await asyncio.sleep(sleep.seconds)
            return ""
        case TcpCheck():
            return "invalid handler: tcpSocket hooks are not supported by Kubernetes"
        case _ as never:
            assert_never(never)
