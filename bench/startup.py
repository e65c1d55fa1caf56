"""``startup``: cold process to every pod of the shop Ready and the Ingress answering over TLS."""

import statistics

from bench.cluster import SHOP, https_get, report, running

RUNS = 5


def run() -> None:
    """Median of several cold starts, in seconds."""
    seconds = []
    for number in range(RUNS):
        with running("-f", str(SHOP)) as measured:
            https_get(measured.ingress_address(), "shop.example.com", "/")
            seconds.append(measured.seconds)
            print(f"startup run {number + 1}: {measured.seconds:.3f} s", flush=True)
    report("startup", statistics.median(seconds), "s")
