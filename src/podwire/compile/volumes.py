"""Volumes of a pod and where its containers mount them.

Rules:

1. ConfigMap, Secret, downward API and projected volumes become files, replaced while containers run; emptyDir becomes a
   directory of the pod; hostPath a path of the node.
2. A claim is a directory of the cluster that outlives the pod (PW6020, info: size and access modes are not enforced).
3. Everything else is not mounted (PW6020, warning).
4. A container that mounts a volume whose source is missing waits (PW6022).
"""

from collections.abc import Iterator, Mapping

import msgspec

from podwire.base import FieldPath, Finding
from podwire.compile.containers import (
    Missing,
    Surroundings,
    config_data,
    expand,
    read_field,
    read_resource,
    secret_data,
)
from podwire.kube.pods import Container, KeyToPath, ObjectFieldSelector, ResourceFieldSelector, Volume
from podwire.plan import Json
from podwire.plan import node as plan
from podwire.plan.node import File, Mount, TokenFile

Files = Mapping[str, tuple[bytes, int]]
"""Content and mode by path within the volume."""
DEFAULT_MODE = 0o644
DEFAULT_TOKEN_SECONDS = 3600


class Volumes(msgspec.Struct, frozen=True):
    """The volumes of a pod that can be had, and by name why others cannot."""

    units: tuple[plan.Volume, ...] = ()
    missing: Mapping[str, Missing] = {}


def compile_volumes(around: Surroundings) -> Volumes:
    """All volumes of a pod; kinds that are not mounted are left out."""
    units: list[plan.Volume] = []
    missing: dict[str, Missing] = {}
    for volume in around.pod.spec.volumes:
        try:
            unit = _unit(volume, around)
        except Missing as reason:
            missing[volume.name] = reason
            continue
        if unit is not None:
            units.append(unit)
    return Volumes(tuple(units), missing)


def _unit(volume: Volume, around: Surroundings) -> plan.Volume | None:
    if volume.empty_dir is not None or volume.ephemeral is not None:
        return plan.EmptyVolume(volume.name)
    if volume.persistent_volume_claim is not None:
        return _claimed(volume.name, volume.persistent_volume_claim.get("claimName", ""), around)
    if volume.host_path is not None:
        return plan.HostVolume(volume.name, volume.host_path.get("path", ""), volume.host_path.get("type") or "")
    if any(s is not None for s in (volume.config_map, volume.secret, volume.downward_api, volume.projected)):
        files = volume_files(volume, around.pod.spec.containers[0], around)
        found = tuple(File(path, content, mode) for path, (content, mode) in files.items())
        return plan.FileVolume(volume.name, found, tuple(_tokens(volume.projected or {})))
    return None


def _claimed(name: str, claim: str, around: Surroundings) -> plan.Volume:
    """The volume a claim is bound to: a path of the node where it says so, else a folder of the cluster."""
    if claim not in around.claims:
        raise Missing(f'persistentvolumeclaim "{claim}" not found')
    found = around.claims[claim]
    if found is None:
        raise Missing(f'persistentvolumeclaim "{claim}" is not bound to a volume yet')
    path = found.spec.host_path or found.spec.local
    if path:
        return plan.HostVolume(name, path.get("path", ""), path.get("type") or "")
    return plan.ClaimVolume(name, found.metadata.name)


def _tokens(projected: Json) -> Iterator[TokenFile]:
    mode = projected.get("defaultMode")
    for source in projected.get("sources") or ():
        token = source.get("serviceAccountToken")
        if token:
            seconds = token.get("expirationSeconds") or DEFAULT_TOKEN_SECONDS
            yield TokenFile(token.get("path", ""), token.get("audience", ""), seconds, mode or DEFAULT_MODE)


def mount_volumes(
    container: Container, around: Surroundings, env: Mapping[str, str], volumes: Volumes
) -> tuple[Mount, ...]:
    """Where a container has its volumes. Raises :class:`podwire.compile.containers.Missing`."""
    present = {unit.name: unit for unit in volumes.units}
    mounts: list[Mount] = []
    for mount in container.volume_mounts:
        if mount.name in volumes.missing:
            raise volumes.missing[mount.name]
        unit = present.get(mount.name)
        if unit is None:
            continue
        part = (expand(mount.sub_path_expr, env) if mount.sub_path_expr else mount.sub_path).strip("/")
        read_only = mount.read_only or _claim_is_read_only(mount.name, around)
        mounts.append(Mount("/" + mount.mount_path.strip("/"), mount.name, part, read_only))
    return tuple(mounts)


def _claim_is_read_only(name: str, around: Surroundings) -> bool:
    claims = (v.persistent_volume_claim for v in around.pod.spec.volumes if v.name == name)
    return any(bool(claim and claim.get("readOnly")) for claim in claims)


def volume_files(volume: Volume, container: Container, around: Surroundings) -> Files:
    """The files of a volume; none for kinds that are not mounted. Raises ``Missing``."""
    if volume.config_map is not None:
        config = volume.config_map
        data = config_data(around, config.name, optional=config.optional)
        return _pick(data, config.items, config.default_mode, config.optional, f"configmap {config.name}")
    if volume.secret is not None:
        secret = volume.secret
        data = secret_data(around, secret.secret_name, optional=secret.optional)
        return _pick(data, secret.items, secret.default_mode, secret.optional, f"secret {secret.secret_name}")
    if volume.downward_api is not None:
        mode = volume.downward_api.get("defaultMode")
        return dict(_downward(volume.downward_api, container, around, mode))
    if volume.projected is not None:
        return _projected(volume.projected, container, around)
    return {}


def _pick(
    data: Mapping[str, bytes], items: tuple[KeyToPath, ...], mode: int | None, optional: bool | None, what: str
) -> Files:
    default = DEFAULT_MODE if mode is None else mode
    if not items:
        return {key: (content, default) for key, content in data.items()}
    found: dict[str, tuple[bytes, int]] = {}
    for item in items:
        if item.key in data:
            found[item.path] = (data[item.key], default if item.mode is None else item.mode)
        elif not optional:
            raise Missing(f"{what} references non-existent config key: {item.key}")
    return found


def _downward(
    source: Json, container: Container, around: Surroundings, mode: int | None
) -> Iterator[tuple[str, tuple[bytes, int]]]:
    for item in source.get("items") or ():
        if item.get("fieldRef"):
            text = read_field(msgspec.convert(item["fieldRef"], ObjectFieldSelector), around)
        else:
            selector = msgspec.convert(item.get("resourceFieldRef") or {}, ResourceFieldSelector)
            text = read_resource(selector, container, around.pod)
        chosen = item.get("mode") or mode
        yield item["path"], (text.encode(), DEFAULT_MODE if chosen is None else chosen)


def _projected(source: Json, container: Container, around: Surroundings) -> Files:
    mode = source.get("defaultMode")
    found: dict[str, tuple[bytes, int]] = {}
    for part in source.get("sources") or ():
        for kind, read in (("configMap", config_data), ("secret", secret_data)):
            chosen = part.get(kind)
            if chosen:
                name, optional = chosen.get("name", ""), chosen.get("optional")
                items = msgspec.convert(chosen.get("items") or (), tuple[KeyToPath, ...])
                found.update(_pick(read(around, name, optional=optional), items, mode, optional, f"{kind} {name}"))
        if part.get("downwardAPI"):
            found.update(_downward(part["downwardAPI"], container, around, mode))
    return found


def volume_findings(around: Surroundings) -> Iterator[Finding]:
    """Rules 2 and 3, one per volume."""
    ref = around.pod.ref
    for index, volume in enumerate(around.pod.spec.volumes):
        path = FieldPath(f"spec.volumes[{index}]")
        if volume.persistent_volume_claim is not None:
            message = f"volume {volume.name} is a folder of the cluster; its size and access modes are not enforced"
            yield Finding("PW6020", "info", ref, path, message)
        elif volume.empty_dir is not None and (volume.empty_dir.get("sizeLimit") or volume.empty_dir.get("medium")):
            message = f"volume {volume.name} is a folder on disk without a limit of its size"
            yield Finding("PW6020", "info", ref, path, message)
        elif not _is_mounted(volume):
            message = f"volume {volume.name} is of a kind podwire does not mount; its paths are missing"
            yield Finding("PW6020", "warning", ref, path, message, "use configMap, secret, downwardAPI or emptyDir")
        elif _ignored_sources(volume):
            message = f"volume {volume.name} leaves out {', '.join(_ignored_sources(volume))}"
            yield Finding("PW6020", "info", ref, path, message)


def _ignored_sources(volume: Volume) -> list[str]:
    found = {key for source in (volume.projected or {}).get("sources") or () for key in source}
    return sorted(found - {"configMap", "secret", "downwardAPI", "serviceAccountToken"})


def _is_mounted(volume: Volume) -> bool:
    known = (volume.config_map, volume.secret, volume.downward_api, volume.projected)
    folders = (volume.empty_dir, volume.ephemeral, volume.persistent_volume_claim, volume.host_path)
    return any(s is not None for s in (*known, *folders))
