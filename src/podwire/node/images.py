"""Container images on disk: OCI image layouts (folder or tar) and ``docker save`` archives.

Rules:

1. What is read is verified by its digest where the format has one; layers are cached by digest
   (:mod:`podwire.node.layers`).
2. Of a multi-platform image the variant of this machine is taken.
3. Nothing is fetched over a network.

Sources: OCI image-spec ``image-layout.md``, ``image-index.md``, ``config.md``; moby ``image/spec``.
"""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from podwire.base import PodwireError
from podwire.node.layers import ensure_layer

_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_JSON_BYTES: Final = 8 << 20
_REF: Final = "org.opencontainers.image.ref.name"
_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class Image(msgspec.Struct, frozen=True):
    """An unpacked image: its layers as folders, topmost first, and how it is run."""

    names: tuple[str, ...]
    layers: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    user: str = ""


class _Store:
    """Named files in a folder or in a tar archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: tarfile.TarFile | None = None
        if not path.is_dir():
            self._archive = tarfile.open(path)  # noqa: SIM115  # closed by close()

    def open(self, name: str) -> IO[bytes]:
        """One file. Raises :class:`PodwireError` when it is not there."""
        if self._archive is None:
            if ".." in Path(name).parts or Path(name).is_absolute():
                raise PodwireError(f"{self.path}: {name} is outside of the image")
            try:
                return open(self.path / name, "rb")
            except OSError as error:
                raise PodwireError(f"{self.path}: cannot read {name}: {error.strerror}") from error
        for known in (name, f"./{name}"):
            try:
                file = self._archive.extractfile(known)
            except KeyError:
                continue
            if file is not None:
                return file
        raise PodwireError(f"{self.path}: there is no {name} in it")

    def has(self, name: str) -> bool:
        """Whether the file is there."""
        try:
            self.open(name).close()
        except PodwireError:
            return False
        return True

    def json(self, name: str) -> Any:
        """A JSON file."""
        with self.open(name) as file:
            data = file.read(_JSON_BYTES)
        try:
            return json.loads(data)
        except ValueError as error:
            raise PodwireError(f"{self.path}: {name} is not JSON") from error

    def blob(self, digest: str) -> str:
        """The name of a blob, verified. Raises :class:`PodwireError`."""
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or not value.isalnum():
            raise PodwireError(f"{self.path}: {digest!r} is no sha256 digest")
        name = f"blobs/{algorithm}/{value}"
        seen = hashlib.sha256()
        with self.open(name) as file:
            while chunk := file.read(1 << 20):
                seen.update(chunk)
        if seen.hexdigest() != value:
            raise PodwireError(f"{self.path}: blob {digest} is damaged")
        return name

    def close(self) -> None:
        """Done."""
        if self._archive is not None:
            self._archive.close()


def load_image(location: str, cache: Path) -> Image:
    """Unpack ``PATH`` or ``PATH:REF`` (a tag, where there are several images) below ``cache``.

    Raises :class:`PodwireError` saying what is wrong with the file.
    """
    path, ref = Path(location), ""
    if not path.exists() and ":" in location:
        head, _, ref = location.rpartition(":")
        path = Path(head)
    try:
        store = _Store(path)
    except (OSError, tarfile.TarError) as error:
        raise PodwireError(f"{path}: no image layout and no image archive: {error}") from error
    try:
        read = _read_docker if store.has("manifest.json") else _read_oci
        names, config, layers = read(store, ref)
        return _unpack(store, cache, names=names, config=config, layers=layers)
    finally:
        store.close()


def _unpack(store: _Store, cache: Path, *, names: tuple[str, ...], config: Any, layers: list[str]) -> Image:
    diff_ids = (config.get("rootfs") or {}).get("diff_ids") or []
    if len(diff_ids) != len(layers):
        raise PodwireError(f"{store.path}: {len(layers)} layers, but the configuration names {len(diff_ids)}")
    folders = []
    for diff_id, name in zip(diff_ids, layers, strict=True):
        folders.append(str(ensure_layer(cache, diff_id, lambda name=name: store.open(name))))  # type: ignore[misc]
    run = config.get("config") or {}
    return Image(
        names=names,
        layers=tuple(reversed(folders)),
        entrypoint=tuple(run.get("Entrypoint") or ()),
        command=tuple(run.get("Cmd") or ()),
        env=tuple((n, v) for n, _, v in (word.partition("=") for word in run.get("Env") or ())),
        working_dir=run.get("WorkingDir") or "",
        user=run.get("User") or "",
    )


def _read_docker(store: _Store, ref: str) -> tuple[tuple[str, ...], Any, list[str]]:
    """``manifest.json`` of ``docker save``."""
    entries = store.json("manifest.json")
    chosen = [e for e in entries if not ref or any(_has_ref(t, ref) for t in e.get("RepoTags") or ())]
    if len(chosen) != 1:
        raise _ambiguous(store, ref, [t for e in entries for t in e.get("RepoTags") or ()])
    entry = chosen[0]
    return tuple(entry.get("RepoTags") or ()), store.json(entry["Config"]), list(entry["Layers"])


def _read_oci(store: _Store, ref: str) -> tuple[tuple[str, ...], Any, list[str]]:
    """``index.json`` of an OCI image layout."""
    found = list(_manifests(store, store.json("index.json"), ""))
    chosen = [(names, m) for names, m in found if not ref or any(_has_ref(n, ref) for n in names)]
    if len(chosen) != 1:
        raise _ambiguous(store, ref, [name for names, _ in found for name in names])
    names, manifest = chosen[0]
    config = store.json(store.blob(manifest["config"]["digest"]))
    return names, config, [store.blob(layer["digest"]) for layer in manifest["layers"]]


def _manifests(store: _Store, index: Any, name: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Manifests for this machine, with the names they have."""
    machine = _MACHINES.get(os.uname().machine, os.uname().machine)
    for entry in index.get("manifests") or ():
        notes = entry.get("annotations") or {}
        own = notes.get("io.containerd.image.name") or notes.get(_REF) or name
        platform = entry.get("platform") or {}
        if platform and (platform.get("os"), platform.get("architecture")) != ("linux", machine):
            continue
        content = store.json(store.blob(entry["digest"]))
        if entry.get("mediaType") in _INDEXES or "manifests" in content:
            yield from _manifests(store, content, own)
        else:
            yield ((own,) if own else ()), content


def _has_ref(name: str, ref: str) -> bool:
    return name == ref or name.rpartition(":")[2] == ref


def _ambiguous(store: _Store, ref: str, names: list[str]) -> PodwireError:
    known = ", ".join(names) or "without names"
    if ref:
        return PodwireError(f"{store.path}: no image {ref}; there are: {known}")
    return PodwireError(f"{store.path}: name one of its images as PATH:TAG; there are: {known}")
