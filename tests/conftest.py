"""Options shared by all tiers, and the tiers this machine cannot run: skipped with the reason, never silently."""

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# No test is about time: a machine that is busy with something else must not fail one.
settings.register_profile("podwire", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("podwire")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="rewrite golden files instead of comparing")


def missing(tier: str) -> Iterator[str]:
    if tier == "kernel":
        if os.geteuid() != 0:
            yield "root (network namespaces)"
        yield from (f"{tool} on the path" for tool in ("nft", "ip") if shutil.which(tool) is None)
    if tier == "compat":
        yield from (f"{tool} on the path" for tool in ("kubectl", "dig", "curl") if shutil.which(tool) is None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {tier: ", ".join(missing(tier)) for tier in ("kernel", "compat")}
    for item in items:
        for tier, reason in reasons.items():
            if reason and item.get_closest_marker(tier):
                item.add_marker(pytest.mark.skip(reason=f"{tier} tier needs {reason}"))
