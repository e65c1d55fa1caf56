"""What makes an object invalid, in the words, paths and order of kube-apiserver.

1. :func:`validate` runs after types were checked and defaults filled; it never raises for what a user wrote.
2. With ``old`` it also says what may not change, and tolerates values that were accepted when they were stored.
3. Whether a value is free (addresses, node ports, names) is not here: only the API server knows.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from podwire.kube.registry import KINDS
from podwire.kube.validate.apps import check_daemon_set, check_deployment, check_replica_set, check_stateful_set
from podwire.kube.validate.autoscaling import check_autoscaler
from podwire.kube.validate.batch import (
    check_controller_revision,
    check_cron_job,
    check_disruption_budget,
    check_job,
    check_priority_class,
)
from podwire.kube.validate.cidrs import check_ip_address, check_service_cidr
from podwire.kube.validate.clusterpolicy import check_cluster_network_policy
from podwire.kube.validate.core import check_config_map, check_event, check_namespace, check_node, check_secret
from podwire.kube.validate.discovery import check_endpoint_slice, check_endpoints
from podwire.kube.validate.errors import ErrorType, FieldError
from podwire.kube.validate.limits import check_limit_range, check_resource_quota
from podwire.kube.validate.meta import check_meta, check_meta_update
from podwire.kube.validate.networking import (
    check_ingress,
    check_ingress_class,
    check_ingress_status,
    check_network_policy,
)
from podwire.kube.validate.pod import check_ephemeral_update, check_pod
from podwire.kube.validate.rbac import check_role, check_role_binding
from podwire.kube.validate.service import check_service, check_service_status

__all__ = ["ErrorType", "FieldError", "validate"]

Obj = dict[str, Any]
Check = Callable[[Obj, Obj | None], Iterator[FieldError]]


def validate(obj: Obj, old: Obj | None = None, *, subresource: str = "") -> tuple[FieldError, ...]:
    """Everything wrong with ``obj``, metadata first; empty when it may be stored.

    ``obj`` must have had its types checked and its defaults filled. ``subresource`` narrows the check: ``status``
    looks at metadata and status only, ``binding`` allows a pod's spec to change, ``ephemeralcontainers`` lets them be
    added.
    """
    kind = KINDS[obj["kind"]]
    found = list(check_meta(obj.get("metadata") or {}, kind_name=kind.name, namespaced=kind.namespaced))
    if old is not None:
        found += check_meta_update(obj.get("metadata") or {}, old.get("metadata") or {})
    if subresource == "status":
        return (*found, *_status_errors(obj, old))
    if subresource == "ephemeralcontainers" and old is not None:
        return (*found, *check_ephemeral_update(obj, old))
    check = _CHECKS.get(kind.name)
    compared = None if subresource in ("binding", "resize") else old
    return (*found, *(check(obj, compared) if check else ()))


def _status_errors(obj: Obj, old: Obj | None) -> Iterator[FieldError]:
    match obj["kind"]:
        case "Service":
            yield from check_service_status(obj, old)
        case "Ingress":
            yield from check_ingress_status(obj)
        case _:
            return


def _check_policy(obj: Obj, old: Obj | None) -> Iterator[FieldError]:
    from podwire.kube.cel_policy import check_policy  # CEL is loaded with the first policy

    return check_policy(obj, old)


def _check_webhooks(obj: Obj, old: Obj | None) -> Iterator[FieldError]:
    from podwire.kube.validate.webhooks import check_webhooks

    return check_webhooks(obj, old)


def _check_binding(obj: Obj, old: Obj | None) -> Iterator[FieldError]:
    from podwire.kube.cel_policy import check_binding

    return check_binding(obj, old)


_CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "ClusterNetworkPolicy": check_cluster_network_policy,
        "ConfigMap": check_config_map,
        "ControllerRevision": check_controller_revision,
        "CronJob": check_cron_job,
        "DaemonSet": check_daemon_set,
        "Deployment": check_deployment,
        "EndpointSlice": check_endpoint_slice,
        "Endpoints": check_endpoints,
        "Event": check_event,
        "HorizontalPodAutoscaler": check_autoscaler,
        "IPAddress": check_ip_address,
        "Ingress": check_ingress,
        "IngressClass": check_ingress_class,
        "LimitRange": check_limit_range,
        "Job": check_job,
        "MutatingWebhookConfiguration": _check_webhooks,
        "Namespace": check_namespace,
        "NetworkPolicy": check_network_policy,
        "Node": check_node,
        "Pod": check_pod,
        "PodDisruptionBudget": check_disruption_budget,
        "PriorityClass": check_priority_class,
        "ClusterRole": check_role,
        "ClusterRoleBinding": check_role_binding,
        "Role": check_role,
        "RoleBinding": check_role_binding,
        "ReplicaSet": check_replica_set,
        "ResourceQuota": check_resource_quota,
        "Secret": check_secret,
        "Service": check_service,
        "ServiceCIDR": check_service_cidr,
        "StatefulSet": check_stateful_set,
        "ValidatingAdmissionPolicy": _check_policy,
        "ValidatingAdmissionPolicyBinding": _check_binding,
        "ValidatingWebhookConfiguration": _check_webhooks,
    }
)
