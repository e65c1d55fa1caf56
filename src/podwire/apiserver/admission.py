"""Built-in admission: namespaces must exist and be alive, and hold what every namespace holds.

Spec: k8s staging/src/k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle, pkg/controller/serviceaccount,
pkg/controller/certificates/rootcacertpublisher.
"""

from typing import Any

from podwire.apiserver.objects import Objects
from podwire.apiserver.status import bad_request, cause, forbidden, not_found
from podwire.kube.registry import KINDS, Kind

Json = dict[str, Any]


def admit(objects: Objects, kind: Kind, namespace: str, name: str) -> None:
    """Refuse a create in a namespace that is missing (404) or going away (403)."""
    if not kind.namespaced:
        return
    found = objects.get("Namespace", namespace)
    if found is None:
        raise not_found(KINDS["Namespace"], namespace)
    if found["metadata"].get("deletionTimestamp"):
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        causes = [cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")]
        raise forbidden(kind, name, why, causes=causes)


def fill_namespace(kind: Kind, namespace: str, value: Json) -> Json:
    """The object in the namespace of the request; another one in the body is a mistake (400)."""
    meta = value.get("metadata") or {}
    found = meta.get("namespace", "")
    if not kind.namespaced:
        if found:
            meta = {k: v for k, v in meta.items() if k != "namespace"}
    elif not found:
        meta = {**meta, "namespace": namespace}
    elif found != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    return {**value, "metadata": meta}


def needed_in_namespace(root_certificate: str) -> list[Json]:
    """ServiceAccount ``default`` and, when there is a CA, ConfigMap ``kube-root-ca.crt``."""
    account: Json = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    if not root_certificate:
        return [account]
    description = "Contains a CA bundle that can be used to verify the kube-apiserver."
    config: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kube-root-ca.crt", "annotations": {"kubernetes.io/description": description}},
        "data": {"ca.crt": root_certificate},
    }
    return [account, config]
