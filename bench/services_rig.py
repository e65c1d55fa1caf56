"""Many Services for measurements: objects, and an embedded cluster of this process that holds them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from podwire.cluster.embedded import EmbeddedCluster
from podwire.testing.clusters import running_cluster

Json = dict[str, Any]
SERVICES = int(os.environ.get("SERVICES", "10000"))
ENDPOINTS = int(os.environ.get("ENDPOINTS", "4"))


def service(index: int) -> Json:
    """A Service without selector; addresses and slices are ours."""
    spec = {"clusterIP": f"10.{100 + (index >> 16)}.{index >> 8 & 255}.{index & 255}", "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{index}", "namespace": "many"}, "spec": spec}


def endpoint_slice(index: int, *, last: int = 0) -> Json:
    """Its endpoints; ``last`` not 0 gives the last one another address."""
    first = index * ENDPOINTS + 1
    addresses = [f"172.{16 + (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in range(first, first + ENDPOINTS)]
    if last:
        addresses[-1] = f"172.31.{last >> 8 & 255}.{last & 255}"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"s{index}",
            "namespace": "many",
            "labels": {"kubernetes.io/service-name": f"s{index}"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [a], "nodeName": f"node-{n % 2 + 1}"} for n, a in enumerate(addresses)],
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    }


def node() -> Json:
    """The one node of a measurement without a cluster."""
    addresses = [{"type": "InternalIP", "address": "10.89.0.10"}]
    meta, spec = {"name": "node-1"}, {"podCIDR": "10.244.0.0/24"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec, "status": {"addresses": addresses}}


def many(count: int) -> list[Json]:
    """The namespace and everything in it."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "many"}}
    return [space, *map(service, range(count)), *map(endpoint_slice, range(count))]


@asynccontextmanager
async def cluster_with(count: int, *more: Json) -> AsyncIterator[EmbeddedCluster]:
    """A cluster whose kernel holds ``count`` Services."""
    async with running_cluster([*many(count), *more]) as cluster:
        yield cluster


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
