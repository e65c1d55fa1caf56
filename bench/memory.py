"""``memory``: the whole of podwire (Python and Envoy) with the shop running, idle."""

from bench.cluster import SHOP, https_get, report, running

MEGABYTE = 1024 * 1024


def run() -> None:
    """Proportional set size of all processes, in MB."""
    with running("-f", str(SHOP)) as measured:
        https_get(measured.ingress_address(), "shop.example.com", "/")
        parts = measured.memory_bytes()
    for name, size in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"memory {name}: {size / MEGABYTE:.1f} MB", flush=True)
    report("memory", sum(parts.values()) / MEGABYTE, "MB")
