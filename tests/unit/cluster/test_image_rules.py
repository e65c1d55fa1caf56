"""What ``--image`` takes, and what it says to what it does not take."""

from pathlib import Path

import pytest

from podwire.base import EnvironmentUnfit
from podwire.cluster.images import parse_image_rules
from podwire.snapshot import ImageRule, ImageRun


def test_commands_and_root_file_systems(tmp_path: Path) -> None:
    assert parse_image_rules("nginx*=python3 -m http.server '8 0'") == (
        ImageRule("nginx*", ("python3", "-m", "http.server", "8 0")),
    )
    (rule,) = parse_image_rules(f"shop/*=rootfs:{tmp_path} /bin/serve now")
    assert rule.run == ImageRun((str(tmp_path),), (), ("/bin/serve", "now"))


@pytest.mark.parametrize(
    "text", ["nginx", "nginx=", "=x", "a=rootfs:", "a=rootfs:/no/such/folder", "a=oci:/no/such", "archive:/no/such"]
)
def test_what_cannot_be_used_is_told(text: str) -> None:
    with pytest.raises(EnvironmentUnfit, match="--image"):
        parse_image_rules(text)
