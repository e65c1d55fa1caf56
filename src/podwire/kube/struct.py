"""The base of every Kubernetes type, and the one rule that turns our names into the API's.

Attributes are the API's field names in snake case (``cluster_ips`` for ``clusterIPs``, ``from_`` for ``from``); the
renaming is a function of the name, so nobody repeats field names. What the schema needs beyond the Python type (merge
keys, list types, required) is written once, in ``Annotated[..., api(...)]``.
"""

from typing import Any

import msgspec

_ACRONYMS = {
    "ip": "IP",
    "ips": "IPs",
    "cidr": "CIDR",
    "cidrs": "CIDRs",
    "id": "ID",
    "uuid": "UUID",
    "pid": "PID",
    "ipc": "IPC",
    "uid": "UID",
    "gid": "GID",
    "tls": "TLS",
    "api": "API",
    "fqdn": "FQDN",
    "io": "IO",
}
_WHOLE = {"external_ips": "externalIPs", "non_resource_urls": "nonResourceURLs", "fqdn": "fqdn"}


def camel(name: str) -> str:
    """``load_balancer_ip`` to ``loadBalancerIP``; a first word stays lower case: ``ip_block`` to ``ipBlock``."""
    if name in _WHOLE:
        return _WHOLE[name]
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


class KubeStruct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename=camel):
    """A frozen API type. Every field has a default, so that half-filled stored objects still parse."""


def api(  # noqa: PLR0913 - one keyword for each schema fact a field can carry
    *,
    required: bool = False,
    merge_key: str = "",
    list_type: str = "",
    list_map_keys: tuple[str, ...] = (),
    retain_keys: bool = False,
    doc: str = "",
    patch_merge: bool = False,
    map_type: str = "",
    format: str = "",
    deprecated: bool = False,
    parts: str = "",
) -> msgspec.Meta:
    """Schema facts of a field: ``x-kubernetes-*`` extensions, required, description.

    ``patch_merge`` merges a list of plain values in a strategic merge patch (lists with a merge key always merge);
    ``map_type="atomic"`` makes server-side apply own an object or map as one value; ``format`` narrows a scalar
    (``int64``, ``date-time``, ``byte``, ``quantity``), and for a map or list its values; ``parts`` names the struct of
    ``pod_parts.py`` that describes a value kept as a dict.
    """
    extra: dict[str, Any] = {
        "required": required,
        "merge_key": merge_key,
        "list_type": list_type,
        "list_map_keys": list_map_keys,
        "retain_keys": retain_keys,
        "patch_merge": patch_merge,
        "map_type": map_type,
        "format": format,
        "deprecated": deprecated,
        "parts": parts,
    }
    return msgspec.Meta(description=doc or None, extra={k: v for k, v in extra.items() if v})
