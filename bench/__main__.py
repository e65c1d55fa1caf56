"""``python -m bench [NAME]``: run one measurement, or all. Each is the ``run`` of the module of its name."""

import sys
from importlib import import_module

BENCHES = (
    "startup",
    "memory",
    "pods",
    "policy-scale",
    "services-sync",
    "services-change",
    "connect",
    "api-writes",
    "api-list",
    "api-watch",
    "dns-qps",
    "dns-latency",
    "dns-scale",
    "dns-forward",
    "dns-memory",
    "dns-update",
    "rolling",
)


def main(names: list[str]) -> int:
    """Run the named measurements (default: all); 2 for a name that does not exist."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no such measurement: {', '.join(unknown)}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for name in names or BENCHES:
        import_module(f"bench.{name.replace('-', '_')}").run()
    return 0


raise SystemExit(main(sys.argv[1:]))
