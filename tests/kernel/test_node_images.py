"""Images on disk become root file systems, and containers run in them."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.node_world import ORIGIN, World, collect, run

from podwire.base import PodwireError
from podwire.node.images import load_image
from podwire.plan.node import Container, ProcessWork, User

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1234:99:web:/home/web:/bin/sh\n"


def tar_of(*entries: tuple[str, Any]) -> bytes:
    """A layer: bytes are files, ``->`` texts symbolic links, None directories; programs are copied from the machine."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content.removeprefix("->")
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def programs(*names: str) -> list[tuple[str, bytes]]:
    """Programs of this machine with the libraries they need."""
    paths = {str(shutil.which(name)): f"bin/{name}" for name in names}
    for program in list(paths):
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        paths |= {found: found.lstrip("/") for found in re.findall(r"(/\S+) \(0x", linked)}
    return [(inside, Path(source).read_bytes()) for source, inside in sorted(paths.items())]


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


LOWER = tar_of(
    *programs("sh", "cat", "ls", "id", "sleep"),
    ("etc", None),
    ("etc/passwd", PASSWD.encode()),
    ("data", None),
    ("data/gone", b"1"),
    ("old", None),
    ("old/hidden", b"1"),
)
UPPER = tar_of(
    ("data/.wh.gone", b""), ("data/kept", b"kept\n"), ("old/.wh..wh..opq", b""), ("old/new", b""), ("link", "->/etc")
)
RUN = {
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["cat /data/kept; exec sleep 1000"],
    "Env": ["COLOUR=blue", "PATH=/bin"],
    "User": "web",
    "WorkingDir": "/data",
}


def write_layout(folder: Path, layers: list[bytes], *, lie: bool = False) -> Path:
    """An OCI image layout with compressed layers behind an index."""
    (folder / "blobs/sha256").mkdir(parents=True)

    def blob(data: bytes) -> dict[str, object]:
        (folder / "blobs" / sha(data).replace(":", "/")).write_bytes(data)
        return {"digest": sha(data), "size": len(data)}

    ids = [sha(b"other") if lie else sha(layer) for layer in layers]
    config = blob(json.dumps({"config": RUN, "rootfs": {"diff_ids": ids}}).encode())
    packed = [blob(gzip.compress(layer, 1)) for layer in layers]
    manifest = blob(json.dumps({"config": config, "layers": packed}).encode())
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    mine = manifest | {"platform": {"os": "linux", "architecture": machine}}
    other = {"digest": sha(b"not there"), "platform": {"os": "linux", "architecture": "s390x"}}
    inner = blob(json.dumps({"manifests": [other, mine]}).encode())
    entry = inner | {"annotations": {"org.opencontainers.image.ref.name": "shop:v1"}}
    (folder / "index.json").write_text(json.dumps({"manifests": [entry]}))
    return folder


def write_archive(path: Path, layers: list[bytes]) -> Path:
    """What ``docker save`` writes."""
    config = json.dumps({"config": RUN, "rootfs": {"diff_ids": [sha(layer) for layer in layers]}}).encode()
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "c.json", "RepoTags": ["shop:v1", "shop:latest"], "Layers": names}]
    files = [("manifest.json", json.dumps(manifest).encode()), ("c.json", config), *zip(names, layers, strict=True)]
    path.write_bytes(tar_of(*files))
    return path


@pytest.mark.parametrize("form", ["layout", "archive"])
def test_an_image_runs_in_its_own_root(tmp_path: Path, form: str) -> None:
    layers = [LOWER, UPPER]
    where = write_layout(tmp_path / "oci", layers) if form == "layout" else write_archive(tmp_path / "a.tar", layers)
    image = load_image(str(where), tmp_path / "layers")
    assert image.names[0] == "shop:v1"
    assert load_image(f"{where}:v1", tmp_path / "layers") == image

    async def test(world: World) -> None:
        work = ProcessWork((*image.entrypoint, *image.command), "image", image.working_dir, (), image.layers)
        user, _, _ = image.user.partition(":")
        tool = Container(ORIGIN, "tool", "shop:v1", work, env=image.env, user=User(user))
        uid = world.add("app", tool)
        await world.ready(uid)
        lines = world.runtime.logs(uid, "tool", follow=True, previous=False)
        assert (await anext(lines))[2] == b"kept\n"
        await lines.aclose()  # type: ignore[attr-defined]
        script = "ls / /data /old; id; echo $COLOUR $HOME; cat /link/hostname /etc/resolv.conf; echo x > /tmp/x"
        _, out, _ = await collect(world, uid, "sh", "-c", script)
        text = out.decode()
        assert "root\n" not in text.split("/data:")[0]
        assert text.split("/data:\n")[1].startswith("kept\n\n/old:\nnew\nuid=1234")
        assert "gid=99" in text
        assert "blue /home/web\napp\n" in text
        assert "nameserver 10.96.0.10" in text

    run(test, tmp_path)


@pytest.mark.parametrize(
    "entry", [("../out", b"x"), ("a/../../out", b"x"), ("etc/passwd/x", b"x")], ids=["up", "deep", "file"]
)
def test_unsafe_layers_are_refused(tmp_path: Path, entry: tuple[str, bytes]) -> None:
    first = ("etc", None), ("etc/passwd", f"->{tmp_path}")
    where = write_archive(tmp_path / "a.tar", [tar_of(*first, entry)])
    with pytest.raises(PodwireError, match="unsafe layer"):
        load_image(str(where), tmp_path / "layers")
    assert os.listdir(tmp_path / "layers") == []
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "layers"]


def test_what_lies_or_lacks_is_told(tmp_path: Path) -> None:
    cache = tmp_path / "layers"
    with pytest.raises(PodwireError, match="has digest"):
        load_image(str(write_layout(tmp_path / "lie", [UPPER], lie=True)), cache)
    with pytest.raises(PodwireError, match=r"no image v2; there are: shop:v1"):
        load_image(f"{write_layout(tmp_path / 'good', [UPPER])}:v2", cache)
    with pytest.raises(PodwireError, match="no image layout"):
        load_image(str(tmp_path / "nothing"), cache)
    damaged = write_layout(tmp_path / "damaged", [UPPER])
    blob = next(p for p in (damaged / "blobs/sha256").iterdir() if p.read_bytes()[:2] == b"\x1f\x8b")
    blob.write_bytes(b"\x1f\x8b")
    with pytest.raises(PodwireError, match="is damaged"):
        load_image(str(damaged), cache)
