"""Without packets: the API, the controllers and the explanations are the same."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire.testing.process import RunningPodwire, running_podwire

pytestmark = [pytest.mark.compat, pytest.mark.xdist_group("simulated")]
SHOP = Path(__file__).parents[2] / "examples" / "shop"


@pytest.fixture(scope="module")
def shop() -> Iterator[RunningPodwire]:
    with running_podwire([SHOP], "--simulate") as running:
        assert "(simulated)" in running.lines[0]
        yield running


def test_all_pods_are_ready(shop: RunningPodwire) -> None:
    pods = shop.get("pods", "-A")["items"]
    ready = [c["status"] for p in pods for c in p["status"]["conditions"] if c["type"] == "Ready"]
    assert len(ready) == len(pods) > 10
    assert set(ready) == {"True"}


def test_scaling_works(shop: RunningPodwire) -> None:
    shop.kubectl("scale", "-n", "shop", "deploy/web", "--replicas=5")
    shop.kubectl("rollout", "status", "-n", "shop", "deploy/web", "--timeout=30s")


def test_traces_work(shop: RunningPodwire) -> None:
    done = shop.attempt("podwire", "trace", "--name", shop.name, "shop/debug", "http://ledger.payments/", "-o", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["verdict"] == "denied"


def test_exec_says_why_not(shop: RunningPodwire) -> None:
    done = shop.attempt("kubectl", "exec", "-n", "shop", "debug", "--", "true")
    assert done.returncode != 0
    assert "simulated" in done.stderr + done.stdout
