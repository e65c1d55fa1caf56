"""``python -m bench [NAME]``: run one measurement, or all."""

import sys

from bench import memory, pods, startup

BENCHES = {"startup": startup.run, "memory": memory.run, "pods": pods.run}


def main(names: list[str]) -> int:
    """Run the named measurements (default: all); 2 for a name that does not exist."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no such measurement: {', '.join(unknown)}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for name in names or list(BENCHES):
        BENCHES[name]()
    return 0


raise SystemExit(main(sys.argv[1:]))
