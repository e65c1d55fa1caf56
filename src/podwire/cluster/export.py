"""Every object of a cluster, read through its API: of all kinds that discovery names, custom ones too."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import podwire
from podwire.client import ApiError
from podwire.client.kubeconfig import Access
from podwire.client.rest import RestClient
from podwire.cluster.home import ClusterHome
from podwire.cluster.system import NodeLayout, system_objects
from podwire.cluster.worlds import settings_of
from podwire.kube import Kind, KubeObject
from podwire.kube.export import SKIPPED_KINDS, export_objects, is_users

Json = dict[str, Any]
CLUSTER_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")
"""Of another cluster only its users' namespaces are wanted: its network and DNS do not run here."""


async def export_cluster(
    access: Access, *, home: ClusterHome | None, namespaces: Iterable[str] = ()
) -> tuple[list[Json], tuple[str, ...]]:
    """Manifests of a cluster, and in words what could not be read. ``home``: it is ours, and its system objects, as far
    as they are as podwire made them, come with every cluster; ``namespaces`` (none: all) narrows to what is in them."""
    chosen, missing = set(namespaces), list[str]()
    values: list[Json] = []
    async with RestClient(access) as client:
        async for kind in _kinds(client):
            try:
                values.extend(await client.list_kind(kind))
            except ApiError as error:
                missing.append(f"{kind.plural}: {error}")
    system = _system(home) if home is not None else {}
    kept = [
        value for value in values if _is_wanted(value, chosen, foreign=home is None) and not _is_system(value, system)
    ]
    owned = sum(1 for value in kept if value["metadata"].get("ownerReferences") and is_users(value))
    if owned:
        missing.append(f"the owner references of {owned} objects: uids are new in every cluster")
    return export_objects(kept), tuple(missing)


async def _kinds(client: RestClient) -> AsyncIterator[Kind]:
    """Every kind that can be listed and created, each stored kind once: in the preferred version of its group."""
    seen: set[str] = set()
    groups = (await client.get("/apis")).get("groups") or ()
    for path in ("/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
        for row in (await client.get(path)).get("resources") or ():
            verbs, name = row.get("verbs") or (), row["kind"]
            if "/" in row["name"] or not {"list", "create"} <= set(verbs) or name in SKIPPED_KINDS:
                continue
            group, _, version = path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")
            if f"{name}.{group}" not in seen:
                seen.add(f"{name}.{group}")
                yield Kind(name, group, version, row["name"], KubeObject, bool(row["namespaced"]))


def _is_wanted(value: Json, chosen: set[str], *, foreign: bool) -> bool:
    meta = value["metadata"]
    namespace = meta["name"] if value["kind"] == "Namespace" else meta.get("namespace", "")
    if chosen:
        return namespace in chosen
    return not (foreign and namespace in CLUSTER_NAMESPACES)


def _system(home: ClusterHome) -> dict[tuple[str, str, str], Json]:
    objects = system_objects(settings_of(home), NodeLayout(), version=podwire.__version__)
    return {_identity(value): value for value in objects}


def _is_system(value: Json, system: dict[tuple[str, str, str], Json]) -> bool:
    """What podwire brings itself; a ConfigMap whose data somebody changed (Corefile, kube-proxy) is the user's."""
    made = system.get(_identity(value))
    return made is not None and (value["kind"] != "ConfigMap" or made.get("data") == value.get("data"))


def _identity(value: Json) -> tuple[str, str, str]:
    meta = value["metadata"]
    return value["kind"], meta.get("namespace", ""), meta["name"]
