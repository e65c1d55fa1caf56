"""What is there before anybody asks: namespaces, Service ``kubernetes`` and where it leads (S22).

Idempotent: a start on an old store only writes what is missing or moved.
"""

from typing import Any

from podwire.apiserver.families import family_of
from podwire.apiserver.objects import key_of
from podwire.apiserver.podadmission import system_classes
from podwire.apiserver.rbac_defaults import default_objects
from podwire.apiserver.verbs import Verbs, WriteOptions
from podwire.kube.registry import KINDS

Json = dict[str, Any]

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_LABELS = {"component": "apiserver", "provider": "kubernetes"}


def bootstrap(verbs: Verbs, address: str, port: int) -> None:
    """Create what is missing; ``address`` and ``port`` are where pods reach the server (empty: they cannot)."""
    for name in NAMESPACES:
        _ensure(verbs, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for value in (*default_objects(), *system_classes()):
        _ensure(verbs, value)
    _ensure(verbs, _service(verbs.objects.allocator.first_address))
    meta: Json = {"name": "kubernetes", "namespace": "default"}
    skip = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    _ensure(
        verbs,
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": meta | {"labels": skip},
            "subsets": [{"addresses": [{"ip": address}], "ports": ports}] if address else [],
        },
    )
    _ensure(
        verbs,
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": meta | {"labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": family_of(address),
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}] if address else [],
            "ports": ports,
        },
    )


def _service(address: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": _LABELS},
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }


def _ensure(verbs: Verbs, value: Json) -> None:
    kind, meta = KINDS[value["kind"]], value["metadata"]
    namespace, name = meta.get("namespace", ""), meta["name"]
    found = verbs.objects.get(kind.name, key_of(namespace, name))
    if found is None:
        verbs.create(kind, namespace, value, WriteOptions())
    elif kind.name in ("Endpoints", "EndpointSlice"):
        verbs.update(kind, namespace, value, WriteOptions(), name=name)
