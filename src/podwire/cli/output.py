"""Answers as table, JSON or YAML; findings as lines."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from podwire.base import Finding


def print_value(value: Any, form: str) -> None:
    """JSON or YAML of plain values, keys in their order."""
    if form == "json":
        print(json.dumps(value, indent=2))
        return
    import yaml

    print(yaml.safe_dump(value, sort_keys=False), end="")


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns padded to their widest cell; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_findings(findings: Iterable[Finding]) -> None:
    """One line each, to standard error."""
    for finding in findings:
        print(f"  {finding}", file=sys.stderr)
