"""The tables of proofs name tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_proof_is_there() -> None:
    text = (ROOT / "docs/design/services-proofs.md").read_text()
    named = set(re.findall(r"`(tests/[^`]+)`", text))
    assert len(named) > 25
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]
