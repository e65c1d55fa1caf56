"""``docs/reference/dns.md`` names a test for each requirement, and each of them is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs/reference/dns.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| requirement")
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_row(row: list[str]) -> None:
    requirement, where = row
    if where.startswith("not done: "):
        return
    for part in where.split("; "):
        path, _, names = part.partition("::")
        file = ROOT / "tests" / path
        assert file.exists(), f"{requirement}: {path} is not there"
        for name in filter(None, names.split(", ")):
            assert re.search(rf"^(async )?def {name}\(", file.read_text(), re.M), f"{requirement}: no {name} in {path}"


def test_there_are_rows() -> None:
    assert len(ROWS) > 60
