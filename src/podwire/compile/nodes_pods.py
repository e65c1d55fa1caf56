"""One bound pod to its unit of the node plan.

Rules:

1. A pod has a unit from the moment it is bound to an existing node until nothing of it is left; a finished pod that no
   runtime knows has none (it must not run again).
2. ``run`` needs everything the containers refer to, the pod's address where they refer to it, and the policy plane's
   confirmation (plan/node.py rule 2).

Source: kubernetes ``pkg/kubelet/network/dns``, ``pkg/kubelet/kubelet_pods.go`` (hosts, hostname).
"""

from collections.abc import Iterator, Sequence
from typing import Literal, cast

import msgspec

from podwire.base import Finding, Origin
from podwire.compile.accounts import ROOT_CA, VOLUME, access_volume, give_access
from podwire.compile.attachments import is_attached
from podwire.compile.containers import Missing, Problem, Surroundings, compile_container, needs_address
from podwire.compile.context import Context
from podwire.compile.pod_fields import pod_findings
from podwire.compile.volumes import Volumes, compile_volumes, mount_volumes, volume_findings
from podwire.kube import ConfigMap, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret
from podwire.kube.pods import Container as KubeContainer
from podwire.plan import PodFact
from podwire.plan import node as plan
from podwire.snapshot import Settings, Snapshot

_NAME_LIMIT = 63


Names = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


class CompiledPod(msgspec.Struct, frozen=True):
    """The unit with ``run`` as far as the pod itself decides, what keeps it waiting, and findings."""

    unit: plan.Pod
    problems: tuple[Problem, ...] = ()
    findings: tuple[Finding, ...] = ()


def is_planned(pod: Pod, fact: PodFact | None) -> bool:
    """Rule 1, for a pod on an existing node."""
    return not fact.gone if fact is not None else not pod.is_finished


def compile_pod(context: Context, pod: Pod, ports: tuple[plan.StandInPort, ...]) -> CompiledPod:
    """The unit of a planned pod; ``ports`` are what Services send to it by number."""
    snapshot = context.snapshot
    fact = snapshot.facts.pods.get(pod.metadata.uid)
    addresses = fact.addresses if fact is not None and fact.addresses else pod.addresses
    node = snapshot.nodes[pod.spec.node_name]
    around = _references(snapshot, pod)
    if pod.spec.ephemeral_containers:
        around = msgspec.structs.replace(around, visitors=_visitors(pod, fact))
    return _compile(pod, node, around, ports, addresses, snapshot.settings)


def _visitors(pod: Pod, fact: PodFact | None) -> tuple[str, ...]:
    """Ephemeral containers that run, or may: none is ever run again (podwire was restarted)."""
    known = {f.name for f in fact.ephemeral_containers} if fact is not None else set()
    begun = {s.name for s in pod.status.ephemeral_container_statuses if s.state.keys() & {"running", "terminated"}}
    names = (c.name for c in pod.spec.ephemeral_containers)
    return tuple(name for name in names if name in known or name not in begun)


class _References(msgspec.Struct, frozen=True):
    config_maps: tuple[ConfigMap, ...]
    secrets: tuple[Secret, ...]
    claims: tuple[PersistentVolumeClaim, ...] = ()
    volumes: tuple[PersistentVolume | None, ...] = ()
    visitors: tuple[str, ...] = ()
    """Ephemeral containers to run."""


def _references(snapshot: Snapshot, pod: Pod) -> _References:
    namespace, names = pod.metadata.namespace, find_names(pod)
    if names == _NO_NAMES and not snapshot.settings.planes:
        return _NONE
    authority = (ROOT_CA,) if snapshot.settings.planes and ROOT_CA not in names[0] else ()
    maps = (snapshot.get(ConfigMap, namespace, name) for name in (*names[0], *authority))
    secrets = (snapshot.get(Secret, namespace, name) for name in names[1])
    found = (snapshot.get(PersistentVolumeClaim, namespace, name) for name in names[2])
    claims = tuple(c for c in found if c is not None)
    return _References(
        tuple(m for m in maps if m is not None),
        tuple(s for s in secrets if s is not None),
        claims,
        tuple(_volume_of(snapshot, claim) for claim in claims),
    )


def find_references(pod: Pod, *, planes: bool) -> tuple[str, ...]:
    """The same objects by kind and key, existing or not; with ``planes`` the authority of the API is one."""
    maps, secrets, claims = find_names(pod)
    if planes:
        maps = (*maps, ROOT_CA)
    kinds = (("ConfigMap", maps), ("Secret", secrets), ("PersistentVolumeClaim", claims))
    return tuple(f"{kind}/{pod.metadata.namespace}/{name}" for kind, names in kinds for name in names)


def _volume_of(snapshot: Snapshot, claim: PersistentVolumeClaim) -> PersistentVolume | None:
    """The volume of a bound claim."""
    found = snapshot.get(PersistentVolume, "", claim.spec.volume_name) if claim.spec.volume_name else None
    bound = found is not None and (found.spec.claim_ref or {}).get("uid") == claim.metadata.uid
    return found if bound else None


_NONE = _References((), ())
_NO_NAMES: Names = ((), (), ())


def find_names(pod: Pod) -> Names:
    """Names of the ConfigMaps, the Secrets and the claims a pod refers to."""
    maps: set[str] = set()
    claims: set[str] = set()
    secrets: set[str] = set()
    for container in (*pod.spec.init_containers, *pod.spec.containers, *pod.spec.ephemeral_containers):
        for source in container.env_from:
            maps |= {source.config_map_ref.name} if source.config_map_ref else set()
            secrets |= {source.secret_ref.name} if source.secret_ref else set()
        for value_from in (v.value_from for v in container.env if v.value_from is not None):
            maps |= {value_from.config_map_key_ref.name} if value_from.config_map_key_ref else set()
            secrets |= {value_from.secret_key_ref.name} if value_from.secret_key_ref else set()
    for volume in pod.spec.volumes:
        maps |= {volume.config_map.name} if volume.config_map else set()
        secrets |= {volume.secret.secret_name} if volume.secret else set()
        claim = volume.persistent_volume_claim
        claims |= {claim.get("claimName", "")} if claim else set()
        for part in (volume.projected or {}).get("sources") or ():
            maps |= {part["configMap"].get("name", "")} if part.get("configMap") else set()
            secrets |= {part["secret"].get("name", "")} if part.get("secret") else set()
    return tuple(sorted(maps)), tuple(sorted(secrets)), tuple(sorted(claims))


def _compile(
    pod: Pod,
    node: Node,
    references: _References,
    ports: tuple[plan.StandInPort, ...],
    addresses: tuple[str, ...],
    settings: Settings,
) -> CompiledPod:
    around = Surroundings(
        pod=pod,
        config_maps={m.key: m for m in references.config_maps},
        secrets={s.key: s for s in references.secrets},
        addresses=node.internal_addresses if pod.spec.host_network else addresses,
        host_addresses=node.internal_addresses,
        rules=settings.images,
        ports=ports,
        claims={c.metadata.name: v for c, v in zip(references.claims, references.volumes, strict=True)},
    )
    problems: list[Problem] = []
    findings = [*pod_findings(pod), *volume_findings(around)]
    volumes = compile_volumes(around) if pod.spec.volumes else Volumes()
    into = _Collected(around, volumes, problems, findings)
    init = tuple(_containers(pod.spec.init_containers, "initContainers", into))
    main = tuple(_containers(pod.spec.containers, "containers", into))
    waits = bool(problems) or (needs_address(pod) and not around.addresses)
    guests = tuple(_guests(pod, references.visitors, into))
    findings.extend(problem.finding for problem in problems)
    units = volumes.units
    if settings.planes:
        init, main = (tuple(give_access(c, around, settings) for c in group) for group in (init, main))
        if any(mount.volume == VOLUME for c in (*init, *main) for mount in c.mounts):
            units = (*units, access_volume(around))
    unit = _unit(pod, around, settings, run=not waits, containers=main, init_containers=init)
    if units or guests:
        unit = msgspec.structs.replace(unit, volumes=units, ephemeral_containers=guests)
    return CompiledPod(unit, tuple(problems), tuple(findings))


class _Collected(msgspec.Struct, frozen=True):
    """What containers are compiled from, and the lists that take what was found."""

    around: Surroundings
    volumes: Volumes
    problems: list[Problem]
    findings: list[Finding]


def _guests(pod: Pod, visitors: tuple[str, ...], into: _Collected) -> Iterator[plan.Container]:
    """The ephemeral containers to run. One that lacks something waits alone; no Service sends anything to it."""
    apart = msgspec.structs.replace(into, around=msgspec.structs.replace(into.around, ports=()))
    waiting = len(into.problems)
    units = tuple(_containers(pod.spec.ephemeral_containers, "ephemeralContainers", apart))
    lacking = {problem.container for problem in into.problems[waiting:]}
    for container, unit in zip(pod.spec.ephemeral_containers, units, strict=True):
        if unit.name in visitors and unit.name not in lacking:
            yield msgspec.structs.replace(unit, target=container.target_container_name)


def _containers(containers: Sequence[KubeContainer], field: str, into: _Collected) -> Iterator[plan.Container]:
    around = into.around
    for index, container in enumerate(containers):
        path = f"spec.{field}[{index}]"
        unit, waiting, found = compile_container(container, path, around)
        into.problems.extend(waiting)
        into.findings.extend(found)
        if container.volume_mounts:
            try:
                mounts = mount_volumes(container, around, dict(unit.env), into.volumes)
                unit = msgspec.structs.replace(unit, mounts=mounts)
            except Missing as missing:
                where = f"{path}.volumeMounts"
                into.problems.append(Problem.of(around.pod.ref, container.name, where, missing))
        yield unit


def _unit(
    pod: Pod,
    around: Surroundings,
    settings: Settings,
    *,
    run: bool,
    containers: tuple[plan.Container, ...],
    init_containers: tuple[plan.Container, ...],
) -> plan.Pod:
    spec, meta = pod.spec, pod.metadata
    grace = spec.termination_grace_period_seconds
    if meta.deletion_grace_period_seconds is not None:
        grace = meta.deletion_grace_period_seconds
    return plan.Pod(
        origin=Origin(pod.ref),
        pod=pod.ref,
        uid=meta.uid,
        node=spec.node_name,
        hostname=hostname_of(pod, settings),
        run=run,
        containers=containers,
        init_containers=init_containers,
        addresses=() if spec.host_network else around.addresses,
        host_network=spec.host_network,
        restart_policy=cast(Literal["Always", "OnFailure", "Never"], spec.restart_policy or "Always"),
        grace_seconds=30 if grace is None else grace,
        terminating=meta.deletion_timestamp is not None,
        resolv_conf=compile_resolv_conf(pod, settings),
        hosts=tuple(_hosts(pod, around.addresses, settings)),
        labels=tuple(sorted(meta.labels.items())),
        annotations=tuple(sorted(meta.annotations.items())),
        service_account=spec.service_account_name or "default",
        deadline_seconds=spec.active_deadline_seconds,
        fs_group=(spec.security_context or {}).get("fsGroup"),
        share_processes=bool(spec.share_process_namespace or spec.host_pid),
        attached=is_attached(pod),
    )


def fqdn_of(pod: Pod, settings: Settings) -> str:
    """``host.subdomain.namespace.svc.domain``; empty without a subdomain."""
    spec = pod.spec
    if not spec.subdomain:
        return ""
    host = (spec.hostname or pod.metadata.name)[:_NAME_LIMIT]
    return f"{host}.{spec.subdomain}.{pod.metadata.namespace}.svc.{settings.domain}"


def hostname_of(pod: Pod, settings: Settings) -> str:
    """What ``hostname`` prints in the pod."""
    spec = pod.spec
    if spec.hostname_override:
        return spec.hostname_override
    if spec.host_network:
        return spec.node_name
    if spec.set_hostname_as_fqdn and fqdn_of(pod, settings):
        return fqdn_of(pod, settings)
    return (spec.hostname or pod.metadata.name)[:_NAME_LIMIT].rstrip("-.")


def _hosts(pod: Pod, addresses: tuple[str, ...], settings: Settings) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Localhost, the pod itself by each of its addresses, then hostAliases."""
    yield "127.0.0.1", ("localhost",)
    yield "::1", ("localhost", "ip6-localhost", "ip6-loopback")
    if not pod.spec.host_network:
        short = (pod.spec.hostname or pod.metadata.name)[:_NAME_LIMIT].rstrip("-.")
        names = (fqdn_of(pod, settings), pod.spec.hostname_override or short)
        for address in addresses:
            yield address, tuple(dict.fromkeys(name for name in names if name))
    for alias in pod.spec.host_aliases:
        yield alias.ip, alias.hostnames


def compile_resolv_conf(pod: Pod, settings: Settings) -> str:
    """The pod's resolv.conf after ``dnsPolicy`` and ``dnsConfig``."""
    policy = pod.spec.dns_policy or "ClusterFirst"
    if policy == "ClusterFirst" and pod.spec.host_network:
        policy = "Default"
    servers: list[str] = []
    searches: list[str] = []
    options: dict[str, str] = {}
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        servers.append(settings.dns_address)
        zone = f"svc.{settings.domain}"
        searches += [f"{pod.metadata.namespace}.{zone}", zone, settings.domain]
        options["ndots"] = "5"
    elif policy == "Default":
        servers += [_server(u) for u in settings.upstreams]
    config = pod.spec.dns_config
    if config is not None:
        servers += config.nameservers
        searches += config.searches
        options |= {option.name: option.value or "" for option in config.options}
    lines = [f"search {' '.join(dict.fromkeys(searches))}"] if searches else []
    lines += [f"nameserver {server}" for server in dict.fromkeys(servers)]
    if options:
        words = (f"{name}:{value}" if value else name for name, value in options.items())
        lines.append(f"options {' '.join(words)}")
    return "".join(f"{line}\n" for line in lines)


def _server(upstream: str) -> str:
    """``address``, ``address:port`` or ``[v6]:port`` without the port: resolv.conf has no place for one."""
    if upstream.startswith("["):
        return upstream[1:].partition("]")[0]
    return upstream.partition(":")[0] if upstream.count(":") == 1 else upstream
