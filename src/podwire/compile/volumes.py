"""Volumes to files and directories of a container.

Rules:

1. ConfigMap, Secret, downward API and projected volumes become files; emptyDir becomes a directory of the pod.
2. A claim is an empty directory for as long as the pod lives (PW6020, info): nothing is stored beyond it.
3. Everything else is not mounted (PW6020, warning).
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
from podwire.plan.node import Dir, File

Files = Mapping[str, tuple[bytes, int]]
"""Content and mode by path within the volume."""
DEFAULT_MODE = 0o644


def mount_volumes(
    container: Container, around: Surroundings, env: Mapping[str, str]
) -> tuple[tuple[File, ...], tuple[Dir, ...]]:
    """Files and directories of one container. Raises :class:`podwire.compile.containers.Missing`."""
    volumes = {v.name: v for v in around.pod.spec.volumes}
    files: list[File] = []
    dirs: list[Dir] = []
    for mount in container.volume_mounts:
        volume = volumes.get(mount.name)
        if volume is None:
            continue
        base = "/" + mount.mount_path.strip("/")
        part = (expand(mount.sub_path_expr, env) if mount.sub_path_expr else mount.sub_path).strip("/")
        if _is_directory(volume):
            dirs.append(Dir(base, f"{volume.name}/{part}" if part else volume.name))
            continue
        for path, (content, mode) in volume_files(volume, container, around).items():
            target = _target(base, path, part)
            if target:
                files.append(File(target, content, mode))
    return tuple(files), tuple(dirs)


def _target(base: str, path: str, part: str) -> str:
    """Where a volume's file goes under ``base``; empty when the mounted part does not hold it."""
    if not part:
        return f"{base.rstrip('/')}/{path}"
    if path == part:
        return base
    return f"{base}/{path.removeprefix(part + '/')}" if path.startswith(part + "/") else ""


def _is_directory(volume: Volume) -> bool:
    return any(s is not None for s in (volume.empty_dir, volume.persistent_volume_claim, volume.ephemeral))


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
        if volume.persistent_volume_claim is not None or volume.ephemeral is not None:
            message = f"volume {volume.name} is an empty directory for as long as the pod lives"
            yield Finding("PW6020", "info", ref, path, message)
        elif not _is_mounted(volume):
            message = f"volume {volume.name} is of a kind podwire does not mount; its paths are missing"
            yield Finding("PW6020", "warning", ref, path, message, "use configMap, secret, downwardAPI or emptyDir")
        elif any(
            set(s) & {"serviceAccountToken", "clusterTrustBundle"} for s in (volume.projected or {}).get("sources", ())
        ):
            message = f"volume {volume.name}: tokens and trust bundles are not projected"
            yield Finding("PW6020", "info", ref, path, message)


def _is_mounted(volume: Volume) -> bool:
    known = (volume.config_map, volume.secret, volume.downward_api, volume.projected)
    return _is_directory(volume) or any(s is not None for s in known)
