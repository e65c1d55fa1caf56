"""Where a question takes its world from: a folder of manifests, a running podwire, or any cluster by kubeconfig."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from podwire.base import Finding, Ref
from podwire.client.kubeconfig import Access
from podwire.client.rest import RestClient
from podwire.cluster.home import ClusterHome
from podwire.cluster.system import NodeLayout, system_objects
from podwire.compile import compile_plans
from podwire.engine import Engine, Slot, State, waiting_for
from podwire.kube.manifest import read_manifests
from podwire.planes.api import ApiDriver
from podwire.snapshot import ImageRule, Owned, Settings, SnapshotBuilder

Json = dict[str, Any]
OBSERVED_KINDS = (
    "Namespace", "Node", "Pod", "Deployment", "ReplicaSet", "StatefulSet", "Service", "EndpointSlice", "ConfigMap",
    "Ingress", "IngressClass", "NetworkPolicy",
)  # fmt: skip
"""What a question about somebody else's cluster reads. No Secrets: a question must not need them."""

CERTIFICATE_CODES = "PW50"
SUFFIXES = (".yaml", ".yml", ".json")
SETTLE_SECONDS = 30.0


def read_paths(paths: Sequence[Path]) -> tuple[list[Json], tuple[Finding, ...]]:
    """Objects of files and of folders (recursively, in name order). Unreadable paths are findings too."""
    objects: list[Json] = []
    findings: list[Finding] = []
    for path in paths:
        for file in _files(path):
            try:
                text = file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                findings.append(_unreadable(file, error))
                continue
            found, problems = read_manifests(text, str(file))
            objects.extend(found)
            findings.extend(problems)
    return objects, tuple(findings)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())


def _unreadable(file: Path, error: Exception) -> Finding:
    ref = Ref("File", "", str(file))
    return Finding("PW9001", "error", ref, "", str(error), "check the path given with -f")  # type: ignore[arg-type]


async def offline_world(objects: Sequence[Json], *, nodes: int = 2) -> tuple[State, tuple[Finding, ...]]:
    """Bring the objects up on simulated nodes: the same API server, controllers and compiler, no packets.

    Clock and chance are fixed, so equal manifests give equal answers.
    """
    from podwire.apiserver.chance import FixedChance
    from podwire.apiserver.server import ApiServer, ApiSettings
    from podwire.cluster.adapter import EmbeddedSource, apply_objects
    from podwire.node.fake import FakeNodeRuntime
    from podwire.planes.envoy.fake import FakeEnvoy

    planes = (ImageRule("podwire/*", ("true",), "simulated"),)
    settings = Settings(images=planes, planes=False)
    chance = FixedChance()
    api = ApiSettings(addresses=(), service_cidr=settings.service_cidr)
    server = ApiServer(api, chance=chance)
    await server.start()
    source = EmbeddedSource(server)
    engine = Engine(source, settings=settings, clock=lambda: chance.now().timestamp())
    engine.add(
        (
            Slot("nodes", lambda plans: plans.nodes, FakeNodeRuntime(engine.report)),
            Slot("envoy", lambda plans: plans.routes, FakeEnvoy(engine.report)),
            Slot("api", lambda plans: plans.writes, ApiDriver(source, engine.report)),
        )
    )
    running = asyncio.create_task(engine.run())
    try:
        await apply_objects(server, system_objects(settings, NodeLayout(nodes=nodes), version="offline"))
        findings = await apply_objects(server, objects)
        waiter = asyncio.create_task(engine.wait_until(lambda s: not waiting_for(s.snapshot, s.plans)))
        await asyncio.wait({waiter, running}, timeout=SETTLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if running.done():
            await running
        assert engine.state is not None
        return engine.state, findings
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await source.close()
        await server.stop()


async def observed_world(access: Access, settings: Settings, *, secrets: bool = False) -> tuple[State, tuple[str, ...]]:
    """Objects of a cluster as they are now, compiled. The strings say which kinds could not be read.

    Without ``secrets`` nothing is said about certificates.
    """
    async with RestClient(access) as client:
        objects, missing = await client.list_kinds((*OBSERVED_KINDS, "Secret") if secrets else OBSERVED_KINDS)
    owned = Owned(**dict.fromkeys(Owned.__struct_fields__, False))
    builder = SnapshotBuilder(msgspec.structs.replace(settings, owned=owned, planes=False))
    for value in objects:
        builder.put(value)
    snapshot = builder.snapshot(time.time())
    plans = compile_plans(snapshot)
    if not secrets:
        told = tuple(f for f in plans.findings if not f.code.startswith(CERTIFICATE_CODES))
        plans = msgspec.structs.replace(plans, findings=told)
    return State(snapshot, plans), missing


def settings_of(home: ClusterHome) -> Settings:
    """The settings a cluster was started with."""
    return msgspec.json.decode(home.settings.read_bytes(), type=Settings)
