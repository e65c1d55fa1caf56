"""Where a question takes its world from: a folder of manifests, a running podwire, or any cluster by kubeconfig."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from podwire.base import Finding, Ref
from podwire.client import ApiError
from podwire.client.kubeconfig import Access
from podwire.client.rest import RestClient
from podwire.cluster.addresses import IpFamily, give_addresses
from podwire.cluster.home import ClusterHome
from podwire.cluster.system import NodeLayout, system_objects
from podwire.compile import Compiler, compile_plans
from podwire.engine import State
from podwire.kube import KINDS
from podwire.kube.manifest import read_manifests
from podwire.plan import Fact, PlaneFact
from podwire.snapshot import DnsOptions, ImageRule, Owned, Settings, SnapshotBuilder

if TYPE_CHECKING:
    from podwire.apiserver.server import ApiServer
    from podwire.cluster.adapter import EmbeddedSource

Json = dict[str, Any]
OBSERVED_KINDS = (
    "Namespace", "Node", "Pod", "Deployment", "ReplicaSet", "StatefulSet", "Service", "EndpointSlice", "ConfigMap",
    "Ingress", "IngressClass", "NetworkPolicy", "ClusterNetworkPolicy", "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy",
)  # fmt: skip
"""What a question about somebody else's cluster reads. No Secrets: a question must not need them."""

CERTIFICATE_CODES = "PW50"
SUFFIXES = (".yaml", ".yml", ".json")
MAX_ROUNDS = 50


def read_paths(paths: Sequence[Path]) -> tuple[list[Json], tuple[Finding, ...]]:
    """Objects of files and of folders (recursively, in name order). Unreadable paths are findings too."""
    objects: list[Json] = []
    findings: list[Finding] = []
    for path in paths:
        for file in files_of(path):
            try:
                text = file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                findings.append(_unreadable(file, error))
                continue
            found, problems = read_manifests(text, str(file))
            objects.extend(found)
            findings.extend(problems)
    return objects, tuple(findings)


def files_of(path: Path) -> list[Path]:
    """A file, or the manifests below a folder."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())


def _unreadable(file: Path, error: Exception) -> Finding:
    ref = Ref("File", "", str(file))
    return Finding("PW9001", "error", ref, "", str(error), "check the path given with -f")  # type: ignore[arg-type]


async def offline_world(
    objects: Sequence[Json],
    *,
    nodes: int = 2,
    family: IpFamily = "ipv4",
    upstreams: tuple[str, ...] = (),
    dns: DnsOptions | None = None,
) -> tuple[State, tuple[Finding, ...]]:
    """Bring the objects up on simulated nodes: the same API server, controllers and compiler, no packets.

    Clock and chance are fixed and the loop goes in lockstep, so equal manifests give equal answers.
    """
    from podwire.apiserver.chance import FixedChance
    from podwire.apiserver.server import ApiServer, ApiSettings
    from podwire.cluster.adapter import EmbeddedSource, apply_objects

    chance = FixedChance()
    planes = (ImageRule("podwire/*", ("true",), "simulated"),)
    settings = give_addresses(
        Settings(images=planes, planes=False, upstreams=upstreams, dns=dns or DnsOptions()), family
    )
    server = ApiServer(ApiSettings(addresses=(), service_cidrs=settings.service_cidrs), chance=chance)
    await server.start()
    source = EmbeddedSource(server)
    try:
        await apply_objects(
            server, system_objects(settings, NodeLayout(nodes=nodes, ip_family=family), version="offline")
        )
        findings = await apply_objects(server, objects)
        state = await _settle(server, source, settings, now=chance.now().timestamp())
    finally:
        await source.close()
        await server.stop()
    return state, findings


async def _settle(server: "ApiServer", source: "EmbeddedSource", settings: Settings, *, now: float) -> State:
    """Compile and write until there is nothing more to write, or after :data:`MAX_ROUNDS`."""
    from podwire.node.fake import FakeNodeRuntime
    from podwire.planes.envoy.fake import FakeEnvoy

    builder, compiler = SnapshotBuilder(settings), Compiler()
    news: list[bool] = []

    def report(key: str, fact: Fact) -> None:
        news.append(builder.observe(key, fact))

    runtime, proxy = FakeNodeRuntime(report), FakeEnvoy(report)
    for _ in range(MAX_ROUNDS):
        _refill(builder, server.list_all(KINDS)[0])
        snapshot = builder.snapshot(now)
        plans = compiler.compile(snapshot).plans
        news.clear()
        await runtime.apply(plans.nodes)
        await proxy.apply(plans.routes)
        for write in plans.writes.writes.values():
            with suppress(ApiError):  # refused or outdated: the next round decides anew
                await source.write(write)
        if not plans.writes.writes and not any(news):
            break
    return State(snapshot, plans)


def _refill(builder: SnapshotBuilder, objects: Sequence[Json]) -> None:
    """Everything there is now, and nothing else."""
    present = {(value["kind"], key_of(value)) for value in objects}
    for kind, key in builder.keys() - present:
        builder.remove(kind, key)
    for value in objects:
        builder.put(value)


def key_of(value: Json) -> str:
    """``namespace/name``, or the name."""
    meta = value["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


async def observed_world(
    access: Access, settings: Settings, *, secrets: bool = False, planes: Mapping[str, Json] | None = None
) -> tuple[State, tuple[str, ...]]:
    """Objects of a cluster as they are now, compiled. The strings say which kinds could not be read.

    Without ``secrets`` nothing is said about certificates. ``planes`` are facts that a running cluster told, by plane.
    """
    async with RestClient(access) as client:
        objects, missing = await client.list_kinds((*OBSERVED_KINDS, "Secret") if secrets else OBSERVED_KINDS)
    owned = Owned(**dict.fromkeys(Owned.__struct_fields__, False))
    builder = SnapshotBuilder(msgspec.structs.replace(settings, owned=owned, planes=False))
    for value in objects:
        builder.put(value)
    for key, fact in (planes or {}).items():
        builder.observe(key, msgspec.convert(fact, PlaneFact))
    snapshot = builder.snapshot(time.time())
    plans = compile_plans(snapshot)
    if not secrets:
        told = tuple(f for f in plans.findings if not f.code.startswith(CERTIFICATE_CODES))
        plans = msgspec.structs.replace(plans, findings=told)
    return State(snapshot, plans), missing


def settings_of(home: ClusterHome) -> Settings:
    """The settings a cluster was started with."""
    return msgspec.json.decode(home.settings.read_bytes(), type=Settings)
