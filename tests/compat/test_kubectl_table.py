"""Runs the table of kubectl invocations against the shop, one test a group; every row that differs is listed."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compat.kubectl_table import TABLE, Row

from podwire.testing.process import RunningPodwire, eventually, running_podwire

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("kubectl-table")]
SHOP = Path(__file__).parents[2] / "examples" / "shop"


@pytest.fixture(scope="module")
def shop() -> Iterator[RunningPodwire]:
    with running_podwire([SHOP]) as running:
        running.environment["KUBE_EDITOR"] = 'sed -i \'s/a: "1"/a: "2"/\''
        mine = ("get", "events", "-n", "shop", "--field-selector=involvedObject.name=debug")
        eventually(lambda: running.kubectl(*mine), lambda said: "Started container" in said)
        yield running


def differences(shop: RunningPodwire, row: Row) -> Iterator[str]:
    done = shop.attempt("kubectl", *shlex.split(row.command), text_input=row.text)
    said = done.stdout + done.stderr
    wrong = [f"exit {done.returncode}, expected {row.code}"] if done.returncode != row.code else []
    wrong += [f"no {pattern!r}" for pattern in row.patterns if not re.search(pattern, said, re.MULTILINE)]
    if wrong:
        yield f"kubectl {row.command}: {'; '.join(wrong)}\n{said[:600]}"


@pytest.mark.parametrize("group", TABLE)
def test_kubectl_says_what_kubernetes_documents(shop: RunningPodwire, group: str) -> None:
    found = [text for row in TABLE[group] for text in differences(shop, row)]
    assert not found, "\n".join(found)


def test_the_table_is_long_enough() -> None:
    assert sum(map(len, TABLE.values())) >= 120


def test_kubectl_is_the_stock_one() -> None:
    said = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=True).stdout
    assert "Client Version: v1." in said
