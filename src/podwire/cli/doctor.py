"""``podwire doctor``: what this machine lacks, and the fix."""

import argparse

import msgspec


def run(args: argparse.Namespace) -> int:
    """0 when packets work, 2 when something is missing."""
    from podwire.cli.output import print_table, print_value
    from podwire.cluster.doctor import examine

    checks = examine()
    if args.output == "table":
        rows = [("CHECK", "OK", "FOUND", "FIX")]
        rows += [(c.name, "yes" if c.ok else "NO", c.found, "" if c.ok else c.fix) for c in checks]
        print_table(rows)
    else:
        print_value(msgspec.to_builtins(checks), args.output)
    return 0 if all(c.ok for c in checks) else 2
