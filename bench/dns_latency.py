"""``dns-latency``: the 99th percentile at 10,000 queries per second, measured by a generator on the other core."""

import asyncio
import os
import select
import socket
import time

from bench.dns_rig import CLIENT_CORE, Server, measure, mix, question, report

RATE, SECONDS, SERVICES, ENDPOINTS = 10_000, 5, 1_000, 2
TYPES = {"A": 1, "AAAA": 28, "SRV": 33}


def run() -> None:
    """Microseconds."""
    value, peer = asyncio.run(measure(SERVICES, ENDPOINTS, _percentile))
    report("dns-latency", value, "us p99", peer)


async def _percentile(server: Server) -> float:
    found = sorted(await asyncio.to_thread(generate, server.port))
    middle, high = found[len(found) // 2], found[len(found) * 99 // 100]
    lost = RATE * SECONDS - len(found)
    print(f"dns-latency {server.name}: p50 {middle * 1e6:.0f} us, p99 {high * 1e6:.0f} us, {lost} lost", flush=True)
    return high * 1e6


def generate(port: int) -> list[float]:
    """Seconds from sending to receiving of each query, sent at an even pace."""
    os.sched_setaffinity(0, {CLIENT_CORE} & os.sched_getaffinity(0) or os.sched_getaffinity(0))
    packets = [question(name, TYPES[rtype], 0)[2:] for name, rtype in mix(SERVICES)]
    found: list[float] = []
    sent: dict[int, float] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
        total, count, start = RATE * SECONDS, 0, time.perf_counter()
        while count < total or (sent and time.perf_counter() < start + SECONDS + 1):
            now = time.perf_counter()
            if count < total and now >= start + count / RATE:
                ident = count & 0xFFFF
                sent[ident] = time.perf_counter()
                sock.send(ident.to_bytes(2, "big") + packets[count % len(packets)])
                count += 1
            elif count >= total:
                select.select([sock], [], [], 0.01)
            try:
                reply = sock.recv(4096)
            except BlockingIOError:
                continue
            began = sent.pop(int.from_bytes(reply[:2], "big"), None)
            if began is not None:
                found.append(time.perf_counter() - began)
    return found
