"""Every case at compile depth (golden files) and at kernel depth (each question is a packet)."""

import asyncio
from pathlib import Path

import pytest

from podwire.cluster.addresses import IpFamily
from podwire.testing.cases import families, run_in_kernel, run_offline

CASES = sorted(path.parent for path in Path(__file__).parent.rglob("objects.yaml"))
IN_KERNEL = [(case, family) for case in CASES for family in families(case)]


def name(case: Path) -> str:
    return str(case.relative_to(Path(__file__).parent))


@pytest.mark.parametrize("case", CASES, ids=name)
def test_compiles_to_its_goldens(case: Path, request: pytest.FixtureRequest) -> None:
    found = asyncio.run(run_offline(case))
    if request.config.getoption("--golden"):
        for file, text in found.items():
            (case / file).write_text(text)
    assert found == {file: (case / file).read_text() for file in found}


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("case", "family"), IN_KERNEL, ids=lambda value: name(value) if isinstance(value, Path) else value
)
def test_packets_do_what_the_traces_say(case: Path, family: IpFamily) -> None:
    assert not asyncio.run(run_in_kernel(case, family))
