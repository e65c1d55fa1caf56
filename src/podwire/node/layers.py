"""One layer of an image: a tar archive unpacked into a folder that overlayfs takes as a lower layer.

Rules:

1. The folder's name is the layer's diff id (the digest of the uncompressed archive), and it appears only once the
   archive had that digest. So images share layers, and an archive that lies spoils nothing.
2. Nothing is written outside the folder: ``..`` and entries behind a symbolic link are refused, absolute names are
   below the folder. Device nodes are left out.
3. Whiteouts become overlayfs' own: a device 0/0, and the attribute ``trusted.overlay.opaque``.

Sources: OCI image-spec ``layer.md``; kernel ``Documentation/filesystems/overlayfs.rst``.
"""

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, cast

from podwire.base import PodwireError

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_XATTR: Final = "SCHILY.xattr."
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_NAME_BYTES: Final = 24


class _Hashing:
    """A readable stream that knows the digest of what was read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Some bytes."""
        data = self._source.read(size)
        self.digest.update(data)
        return data


def ensure_layer(cache: Path, diff_id: str, source: Callable[[], IO[bytes]]) -> Path:
    """The unpacked layer of that diff id. Raises :class:`PodwireError` for an archive that is damaged or unsafe."""
    algorithm, _, wanted = diff_id.partition(":")
    if algorithm != "sha256" or len(wanted) != 64 or not set(wanted) <= set("0123456789abcdef"):
        raise PodwireError(f"layer {diff_id!r} is not named by a sha256 digest")
    folder = cache / wanted[:_NAME_BYTES]
    if folder.is_dir():
        return folder
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=cache))
    try:
        fresh.chmod(0o755)
        with source() as packed:
            found = _unpack(_decompress(packed), fresh)
        if found != wanted:
            raise PodwireError(f"layer {diff_id}: the archive has digest sha256:{found}")
        with suppress(FileExistsError, OSError):  # another podwire was as fast
            fresh.rename(folder)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise PodwireError(f"layer {diff_id}: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _decompress(packed: IO[bytes]) -> IO[bytes]:
    magic = packed.read(4)
    packed.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=packed))
    if magic == _ZSTD:
        raise PodwireError("layers compressed with zstd cannot be read; save the image with gzip or uncompressed")
    return packed


def _unpack(source: IO[bytes], folder: Path) -> str:
    """Unpack everything; the digest of what was read."""
    stream = _Hashing(source)
    times: list[tuple[str, float]] = []
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as archive:
        for member in archive:
            _place(archive, member, folder, times)
    while stream.read(1 << 20):
        pass
    for path, at in reversed(times):
        os.utime(path, (at, at))
    return stream.digest.hexdigest()


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, times: list[tuple[str, float]]) -> None:
    path = _safe(folder, member.name)
    if path == folder:
        return
    if path.name == _OPAQUE:
        os.setxattr(path.parent, "trusted.overlay.opaque", b"y")
        return
    if path.name.startswith(_WHITEOUT):
        os.mknod(path.with_name(path.name.removeprefix(_WHITEOUT)), stat.S_IFCHR, os.makedev(0, 0))
        return
    _make(archive, member, path, folder)
    if not os.path.lexists(path) or member.islnk():
        return
    os.chown(path, member.uid, member.gid, follow_symlinks=False)
    if not member.issym():
        path.chmod(member.mode & 0o7777)
    for key, value in member.pax_headers.items():
        if key.startswith(_XATTR):
            with suppress(OSError):  # file systems without it
                os.setxattr(path, key.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
    if member.isdir():
        times.append((str(path), member.mtime))
    elif not member.issym():
        os.utime(path, (member.mtime, member.mtime))


def _make(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, folder: Path) -> None:
    if os.path.lexists(path) and not (member.isdir() and path.is_dir() and not path.is_symlink()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        os.link(_safe(folder, member.linkname), path, follow_symlinks=False)
    elif member.isfifo():
        os.mkfifo(path)
    elif member.isreg():
        content = archive.extractfile(member)
        with open(path, "xb") as file:
            if content is not None:
                shutil.copyfileobj(content, file)


def _safe(folder: Path, name: str) -> Path:
    """Rule 2; the parents exist afterwards."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PodwireError(f"unsafe layer: {name} has '..'")
    path = folder
    for part in parts[:-1]:
        path /= part
        if path.is_symlink():
            raise PodwireError(f"unsafe layer: {name} is behind the symbolic link {path.relative_to(folder)}")
        path.mkdir(mode=0o755, exist_ok=True)
    return path / parts[-1] if parts else folder
