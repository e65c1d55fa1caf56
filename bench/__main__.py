"""``python -m bench [NAME]``: run one measurement, or all."""

import sys

from bench import api_list, api_watch, api_writes, dns_latency, dns_memory, dns_qps, dns_update, memory, pods, startup

BENCHES = {
    "startup": startup.run,
    "memory": memory.run,
    "pods": pods.run,
    "api-writes": api_writes.run,
    "api-list": api_list.run,
    "api-watch": api_watch.run,
    "dns-qps": dns_qps.run,
    "dns-latency": dns_latency.run,
    "dns-memory": dns_memory.run,
    "dns-update": dns_update.run,
}


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
