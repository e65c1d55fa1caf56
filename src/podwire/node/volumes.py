"""Volumes of pods as folders of this machine.

Rules:

1. ``state_dir/volumes/UID/NAME`` lives as long as the pod; ``state_dir/claims/FOLDER`` until somebody deletes the
   cluster; ``state_dir/nodes/NODE/PATH`` is what a node has of its own.
2. Files of ConfigMaps and the like are replaced as a whole through one symbolic link, so a reader sees the old ones or
   the new ones (kubernetes ``pkg/volume/util/atomic_writer.go``). A part of a volume (subPath) is fixed at start.
3. A manifest cannot change this machine: a hostPath that exists here is mounted read-only, any other is a path of the
   node's own, which is writable.
4. A part that leads out of its volume through a symbolic link is refused (CVE-2017-1002101).
"""

import asyncio
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, assert_never

from podwire.base import PodwireError
from podwire.plan.node import (
    ClaimVolume,
    Container,
    EmptyVolume,
    File,
    FileVolume,
    HostVolume,
    Pod,
    TokenFile,
    Volume,
)

_DATA: Final = "..data"
_KINDS: Final = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}
Bind = tuple[str, str, bool]
"""Path in the container, path on this machine, read-only."""


TokenSource = Callable[[Pod, TokenFile], str]
"""Issues a token; raises :class:`PodwireError` when it cannot."""
_RENEW_AT: Final = 0.8


class VolumeStore:
    """The volumes of one cluster."""

    def __init__(self, state_dir: Path, tokens: TokenSource | None = None) -> None:
        """Nothing is made before a pod asks. ``tokens`` issues ServiceAccount tokens bound to a pod."""
        self._tokens = tokens
        self._renewals: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._pods = state_dir / "volumes"
        self._claims = state_dir / "claims"
        self._nodes = state_dir / "nodes"

    def mounts(self, pod: Pod, container: Container) -> tuple[Bind, ...]:
        """What a container has mounted. Raises :class:`PodwireError` for a volume that cannot be had."""
        volumes = {v.name: v for v in pod.volumes}
        binds = [(d.path, str(self._empty(pod, d.volume)), False) for d in container.dirs]
        for mount in container.mounts:
            volume = volumes.get(mount.volume)
            if volume is None:
                raise PodwireError(f"volume {mount.volume} of container {container.name} is not there")
            source, fixed = self.ensure(pod, volume)
            part = _part(source, mount.part, volume) if mount.part else source
            binds.append((mount.path, str(part), fixed or mount.read_only))
        return tuple(binds)

    def ensure(self, pod: Pod, volume: Volume) -> tuple[Path, bool]:
        """Where a volume is, and whether it can only be read. Raises :class:`PodwireError`."""
        match volume:
            case FileVolume():
                folder = self._pods / pod.uid / volume.name
                if not (folder / _DATA).exists():
                    self._write(pod, volume)
                return folder, True
            case EmptyVolume():
                return self._empty(pod, volume.name), False
            case ClaimVolume():
                return _own(_below(self._claims, volume.folder), pod.fs_group), False
            case HostVolume():
                return self._host(pod.node, volume)
            case _ as never:
                assert_never(never)

    def update(self, pod: Pod, before: Pod) -> None:
        """Replace the files of volumes that some container has mounted already."""
        old = {v.name: v for v in before.volumes}
        for volume in pod.volumes:
            folder = self._pods / pod.uid / volume.name
            if isinstance(volume, FileVolume) and volume != old.get(volume.name) and (folder / _DATA).exists():
                self._write(pod, volume)

    def rest(self, uid: str) -> None:
        """Renew no token of a pod any more."""
        for key in [key for key in self._renewals if key[0] == uid]:
            self._renewals.pop(key).cancel()

    def forget(self, uid: str) -> None:
        """Remove what a pod kept."""
        self.rest(uid)
        shutil.rmtree(self._pods / uid, ignore_errors=True)

    def _write(self, pod: Pod, volume: FileVolume) -> None:
        """The files and tokens of a volume; tokens are renewed after four fifths of their time, as by a kubelet."""
        files = list(volume.files)
        for wish in volume.tokens:
            if self._tokens is None:
                raise PodwireError("nobody issues ServiceAccount tokens here")
            files.append(File(wish.path, self._tokens(pod, wish).encode(), wish.mode))
        write_files(self._pods / pod.uid / volume.name, tuple(files))
        if volume.tokens:
            after = min(wish.expiration_seconds for wish in volume.tokens) * _RENEW_AT
            key = (pod.uid, volume.name)
            if key in self._renewals:
                self._renewals.pop(key).cancel()
            self._renewals[key] = asyncio.get_running_loop().call_later(after, self._renew, pod, volume)

    def _renew(self, pod: Pod, volume: FileVolume) -> None:
        try:
            self._write(pod, volume)
        except PodwireError:  # the account is gone; the old token ends by itself
            del self._renewals[pod.uid, volume.name]

    def _empty(self, pod: Pod, name: str) -> Path:
        return _own(self._pods / pod.uid / name, pod.fs_group)

    def _host(self, node: str, volume: HostVolume) -> tuple[Path, bool]:
        """Rule 3, and the type asked for."""
        kind, path = volume.type, Path(volume.path)
        if path.exists():
            _check_kind(path, volume)
            return path, True
        own = _below(self._nodes / node, volume.path)
        if not own.exists():
            if kind == "FileOrCreate":
                if not own.parent.is_dir():
                    raise PodwireError(f"hostPath type check failed: the directory of {path} does not exist")
                own.touch(mode=0o644)
            elif kind in ("", "DirectoryOrCreate"):
                own.mkdir(parents=True)
                own.chmod(0o755)
        _check_kind(own, volume)
        return own, False


def _check_kind(path: Path, volume: HostVolume) -> None:
    check, what = _KINDS.get(volume.type.removesuffix("OrCreate"), (None, ""))
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise PodwireError(f"hostPath type check failed: {volume.path} is not {what or 'there'}") from error
    if check is not None and not check(mode):
        raise PodwireError(f"hostPath type check failed: {volume.path} is not {what}")


def _below(folder: Path, path: str) -> Path:
    if ".." in Path(path).parts:
        raise PodwireError(f"{path}: must not contain '..'")
    return folder / path.strip("/")


def _own(folder: Path, group: int | None) -> Path:
    """A folder everybody may write to; with a group of the pod's, which new files inherit."""
    if not folder.exists():
        folder.mkdir(mode=0o711, parents=True)
        if group is not None:
            os.chown(folder, -1, group)
        folder.chmod(0o777 if group is None else 0o2777)
    return folder


def _part(source: Path, part: str, volume: Volume) -> Path:
    """A subPath: a directory is made when it is missing, as a kubelet does (rule 4)."""
    target = source / part.strip("/")
    if not target.exists() and not isinstance(volume, FileVolume):
        inside = next(p for p in (target, *target.parents) if p.exists())
        _refuse_escape(inside, source, part)
        target.mkdir(parents=True)
        target.chmod(0o777)
    if not target.exists():
        raise PodwireError(f"failed to prepare subPath {part}: volume {volume.name} does not have it")
    _refuse_escape(target, source, part)
    return target.resolve()


def _refuse_escape(path: Path, source: Path, part: str) -> None:
    if not path.resolve().is_relative_to(source.resolve()):
        raise PodwireError(f"failed to prepare subPath {part}: it leads out of the volume")


def write_files(folder: Path, files: tuple[File, ...]) -> None:
    """Rule 2."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder.chmod(0o755)
    before = os.readlink(folder / _DATA) if (folder / _DATA).is_symlink() else ""
    number = int(before.removeprefix("..")) + 1 if before else 1
    fresh = folder / f"..{number}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o755)
    for file in files:
        target = fresh / file.path
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)
    link = folder / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(folder / _DATA)
    names = {file.path.split("/", 1)[0] for file in files}
    for name in names:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_DATA}/{name}")
    for stale in set(os.listdir(folder)) - names:
        if not stale.startswith(".."):
            (folder / stale).unlink()
    if before:
        with suppress(OSError):
            shutil.rmtree(folder / before)
