"""Discovery: which groups, versions and resources there are, in the aggregated and the legacy form.

Documents are made on the first request, with their ETag, and again when the kinds change.
Spec: KEP-3352; apidiscovery.k8s.io/v2.
"""

from hashlib import sha256
from typing import Any

from podwire.apiserver.http.answer import encode
from podwire.apiserver.kinds import Kinds
from podwire.kube.registry import Kind

Json = dict[str, Any]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
_SUB_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "proxy": ("", "v1", "PodProxyOptions"),
}
_SUB_VERBS = {
    "status": ("get", "patch", "update"),
    "scale": ("get", "patch", "update"),
    "ephemeralcontainers": ("get", "patch", "update"),
    "finalize": ("update",),
    "binding": ("create",),
    "eviction": ("create",),
    "log": ("get",),
    "token": ("create",),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
    "portforward": ("create", "get"),
    "proxy": ("create", "delete", "get", "patch", "update"),
}


class Document:
    """Bytes with their ETag and media type."""

    __slots__ = ("data", "etag", "media")

    def __init__(self, value: Json, media: str = "application/json") -> None:
        """Encode once."""
        self.data = encode(value)
        self.etag = f'"{sha256(self.data).hexdigest().upper()}"'
        self.media = media


def aggregated(kinds: Kinds, group_names: list[str], version: str) -> Document:
    """APIGroupDiscoveryList; ``version`` is v2 or v2beta1."""
    items = [_group_discovery(kinds, name) for name in group_names]
    value = {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }
    return Document(value, AGGREGATED.format(version))


def _group_discovery(kinds: Kinds, group: str) -> Json:
    found = [
        {
            "version": v,
            "freshness": "Current",
            "resources": [_resource_discovery(kind) for kind in kinds.of_group(group, v)],
        }
        for v in kinds.versions(group)
    ]
    meta: Json = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
    return {"metadata": meta, "versions": found}


def _resource_discovery(kind: Kind) -> Json:
    found: Json = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.name},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    if kind.subresources:
        found["subresources"] = [_subresource_discovery(kind, name) for name in kind.subresources]
    return found


def _subresource_discovery(kind: Kind, name: str) -> Json:
    group, version, kind_name = _SUB_KINDS.get(name, (kind.group, kind.version, kind.name))
    return {
        "subresource": name,
        "responseKind": {"group": group, "version": version, "kind": kind_name},
        "verbs": list(_SUB_VERBS[name]),
    }


def api_versions(address: str) -> Document:
    """Legacy ``/api``."""
    return Document(
        {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        }
    )


def api_groups(kinds: Kinds) -> Document:
    """Legacy ``/apis``."""
    return Document(
        {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(kinds, name) for name in kinds.groups()]}
    )


def api_group(kinds: Kinds, name: str) -> Document:
    """Legacy ``/apis/<group>``."""
    return Document({"kind": "APIGroup", "apiVersion": "v1"} | _group(kinds, name))


def _group(kinds: Kinds, name: str) -> Json:
    found = [{"groupVersion": f"{name}/{v}", "version": v} for v in kinds.versions(name)]
    return {"name": name, "versions": found, "preferredVersion": found[0]}


def resource_list(kinds: Kinds, group: str, version: str) -> Document:
    """Legacy ``/api/v1`` and ``/apis/<group>/<version>``."""
    rows: list[Json] = []
    for kind in kinds.of_group(group, version):
        rows.append(_row(kind))
        rows.extend(_sub_row(kind, name) for name in kind.subresources)
    name = f"{group}/{version}" if group else version
    return Document({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": rows})


def _row(kind: Kind) -> Json:
    found: Json = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    return found


def _sub_row(kind: Kind, name: str) -> Json:
    group, version, kind_name = _SUB_KINDS.get(name, (kind.group, kind.version, kind.name))
    found: Json = {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": kind_name,
        "verbs": list(_SUB_VERBS[name]),
    }
    if (group, version) != (kind.group, kind.version):
        found |= {"group": group, "version": version}
    return found
