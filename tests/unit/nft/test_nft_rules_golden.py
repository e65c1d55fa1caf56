"""The constant rule text, as a file to read."""

from pathlib import Path

import pytest

from podwire.planes.nft.rules import format_class, format_rules
from podwire.planes.nft.tables import BackendClass

GOLDEN = Path(__file__).parent / "golden" / "rules.nft"


def test_rules_are_the_golden_ones(request: pytest.FixtureRequest) -> None:
    rules = format_rules(snat="10.89.0.2", pods="10.244.0.0/16", services="10.96.0.0/12")
    text = rules + format_class(BackendClass(2)) + format_class(BackendClass(3, 10800))
    if request.config.getoption("--golden"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_a_node_without_an_address_masquerades() -> None:
    text = format_rules(snat="", pods="10.244.0.0/16", services="10.96.0.0/12")
    assert "snat" not in text.replace("srcnat", "")
    assert text.count("masquerade") == 4
