"""The constant rule text, as a file to read."""

from pathlib import Path

import pytest

from podwire.planes.nft import tables as t
from podwire.planes.nft.rules import format_class, format_policy, format_services
from podwire.planes.nft.tables import BackendClass

GOLDEN = Path(__file__).parent / "golden" / "rules.nft"
GOLDEN6 = GOLDEN.with_name("rules6.nft")


def test_rules_are_the_golden_ones(request: pytest.FixtureRequest) -> None:
    """Both families; how little they differ is the point."""
    four = format_services(t.IP, snat="10.89.0.2", pods="10.244.0.0/16", services="10.96.0.0/12")
    six = format_services(t.IP6, snat="fd00:89::2", pods="fd00:10:244::/56", services="fd00:10:96::/112")
    for golden, family, rules in ((GOLDEN, t.IP, four), (GOLDEN6, t.IP6, six)):
        classes = (BackendClass(2, family=family.nft), BackendClass(3, 10800, family.nft))
        text = rules + format_policy(family) + "".join(map(format_class, classes))
        if request.config.getoption("--golden"):
            golden.write_text(text)
        assert text == golden.read_text()


def test_a_node_without_an_address_masquerades() -> None:
    text = format_services(t.IP, snat="", pods="10.244.0.0/16", services="10.96.0.0/12")
    assert "snat" not in text.replace("srcnat", "")
    assert text.count("masquerade") == 4
