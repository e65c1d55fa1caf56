"""What ``kubectl get`` shows: columns and cells of every kind.

1. Cells are what kubernetes' own printers give, wide columns included (priority 1); ``kubectl`` hides those itself.
2. ``now`` is an argument, so ages are pure.
3. Objects are read as stored: any field may be absent.

Spec: k8s:pkg/printers/internalversion/printers.go; apimachinery duration.HumanDuration.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from podwire.kube import (
    columns_batch,
    columns_core,
    columns_pod,
    columns_quota,
    columns_rbac,
    columns_storage,
    columns_workload,
)
from podwire.kube.columns_text import age

Obj = dict[str, Any]
Cells = Callable[[Obj, float], list[Any]]


class Column(msgspec.Struct, frozen=True):
    """One column; ``priority`` above 0 is shown only with ``-o wide``."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


def columns_of(kind_name: str) -> tuple[Column, ...]:
    """The columns of a kind, NAME first. Kinds without a printer have NAME and AGE."""
    return _TABLE.get(kind_name, _PLAIN)[0]


def cells(kind_name: str, obj: Obj, now: float) -> list[Any]:
    """The cells of ``obj``, one for each column of :func:`columns_of`; ``now`` is seconds since the epoch."""
    return _TABLE.get(kind_name, _PLAIN)[1](obj, now)


_NAME = Column("Name", "string", "name", "Name must be unique within a namespace.")
_AGE = Column("Age", description="Time since the object was created.")


def _columns(text: str) -> tuple[Column, ...]:
    """``Name Ready Data:integer | Wide`` with ``_`` for a space; what follows ``|`` is shown only when wide."""
    parts: list[Column] = []
    wide = 0
    for word in text.split():
        if word == "|":
            wide = 1
            continue
        name, _, kind = word.partition(":")
        known = {"Name": _NAME, "Age": _AGE}.get(name)
        shown = name.replace("_", " ")
        described = Column(shown, kind or "string", "", _DESCRIPTIONS.get(shown, ""), wide)
        parts.append(msgspec.structs.replace(known, priority=wide) if known else described)
    return tuple(parts)


_DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "Ready": "How many of the desired parts are ready to serve.",
        "Status": "The state, in a word.",
        "Restarts": "How often containers were restarted, and when last.",
        "IP": "Address of the pod.",
        "Node": "Node the pod runs on.",
        "Nominated Node": "Node the scheduler has in mind after preemption.",
        "Readiness Gates": "Conditions, beside the containers, that must be true.",
        "Type": "Kind of Service or Secret, or Normal and Warning for Events.",
        "Cluster-IP": "Virtual address inside the cluster.",
        "External-IP": "Addresses that answer outside the cluster.",
        "Port(s)": "Ports, with node ports after a colon.",
        "Selector": "Labels that select pods.",
        "Class": "Ingress class that should act on this object.",
        "Hosts": "Hosts with rules.",
        "Address": "Addresses that answer for the Ingress.",
        "Ports": "Ports that are served.",
        "Endpoints": "Addresses, the first few.",
        "AddressType": "IPv4, IPv6 or FQDN.",
        "Pod-Selector": "Pods the policy applies to.",
        "Controller": "Name of the controller that acts on the class.",
        "Parameters": "Object with further settings of the class.",
        "Data": "Number of keys.",
        "Secrets": "Number of Secrets the account may use.",
        "Created At": "When it was made.",
        "Role": "The role that is given.",
        "Users": "Users that get it.",
        "Groups": "Groups that get it.",
        "ServiceAccounts": "ServiceAccounts that get it.",
        "Request": "What is used of what may be requested.",
        "Limit": "What is used of the limits.",
        "Roles": "Roles of the node.",
        "Version": "Kubelet version of the node.",
        "Desired": "Pods wanted.",
        "Current": "Pods present.",
        "Up-to-date": "Pods of the newest template.",
        "Available": "Pods ready for at least minReadySeconds.",
        "Containers": "Names of the containers.",
        "Images": "Images of the containers.",
        "Last Seen": "Time since it happened last.",
        "Reason": "Short cause, in one word.",
        "Object": "Object the event is about.",
        "Message": "What happened.",
        "Node Selector": "Labels of the nodes that get a pod.",
        "Revision": "Number of the revision.",
        "Schedule": "When Jobs are made.",
        "Timezone": "Time zone of the schedule.",
        "Suspend": "Whether no Jobs are made for now.",
        "Active": "Jobs that run.",
        "Last Schedule": "Time since a Job was made last.",
        "Completions": "Pods that succeeded, of those wanted.",
        "Duration": "Time the Job ran.",
        "Min Available": "Pods that must stay.",
        "Max Unavailable": "Pods that may be missing.",
        "Allowed Disruptions": "Evictions allowed now.",
        "Value": "The priority.",
        "Global-Default": "Whether pods without a class get it.",
        "PreemptionPolicy": "Whether it takes the place of lower ones.",
        "Capacity": "Size of the volume.",
        "Access Modes": "RWO: one node, ROX: many read, RWX: many write, RWOP: one pod.",
        "Reclaim Policy": "What happens to the volume when its claim is deleted.",
        "ReclaimPolicy": "What happens to volumes when their claims are deleted.",
        "Claim": "The claim that has the volume.",
        "Volume": "The volume of the claim.",
        "StorageClass": "Class of the storage.",
        "VolumeMode": "Filesystem or Block.",
        "Provisioner": "Who makes volumes.",
        "VolumeBindingMode": "When volumes are bound.",
        "AllowVolumeExpansion": "Whether claims may grow.",
        "Holder": "Who holds the lease.",
        "Webhooks": "How many webhooks it has.",
        "Validations": "How many conditions it has.",
        "ParamKind": "Kind of the objects with parameters.",
        "PolicyName": "Policy that is in force.",
        "Reference": "What is scaled.",
        "Targets": "Measured and wanted value of each metric.",
        "MinPods": "Fewest replicas.",
        "MaxPods": "Most replicas.",
        "Replicas": "Replicas now.",
        "CIDRs": "Blocks that Services get addresses from.",
        "ParentRef": "Whose address it is.",
        "ParamRef": "Object with parameters.",
    }
)

_PLAIN: tuple[tuple[Column, ...], Cells] = (
    (_NAME, _AGE),
    lambda obj, now: [(obj.get("metadata") or {}).get("name", ""), age(obj, now)],
)

_TABLE: Mapping[str, tuple[tuple[Column, ...], Cells]] = MappingProxyType(
    {
        "ClusterRole": (_columns("Name Created_At"), columns_rbac.role),
        "ClusterRoleBinding": (
            _columns("Name Role Age | Users Groups ServiceAccounts"),
            columns_rbac.binding,
        ),
        "ConfigMap": (_columns("Name Data:integer Age"), columns_core.config_map),
        "ControllerRevision": (_columns("Name Controller Revision:integer Age"), columns_workload.controller_revision),
        "CronJob": (
            _columns("Name Schedule Timezone Suspend:boolean Active:integer Last_Schedule Age")
            + _columns("| Containers Images Selector"),
            columns_batch.cron_job,
        ),
        "DaemonSet": (
            _columns("Name Desired:integer Current:integer Ready:integer Up-to-date:integer Available:integer")
            + _columns("Node_Selector Age | Containers Images Selector"),
            columns_workload.daemon_set,
        ),
        "Deployment": (
            _columns("Name Ready Up-to-date:integer Available:integer Age | Containers Images Selector"),
            columns_workload.deployment,
        ),
        "EndpointSlice": (_columns("Name AddressType Ports Endpoints Age"), columns_core.endpoint_slice),
        "Endpoints": (_columns("Name Endpoints Age"), columns_core.endpoints),
        "Event": (
            _columns("Last_Seen Type Reason Object | Subobject Source")
            + _columns("Message")
            + _columns("| First_Seen Count:integer Name"),
            columns_core.event,
        ),
        "HorizontalPodAutoscaler": (
            _columns("Name Reference Targets MinPods MaxPods:integer Replicas:integer Age"),
            columns_workload.autoscaler,
        ),
        "IPAddress": (_columns("Name ParentRef"), columns_core.ip_address),
        "ServiceCIDR": (_columns("Name CIDRs Age"), columns_core.service_cidr),
        "Ingress": (_columns("Name Class Hosts Address Ports Age"), columns_core.ingress),
        "IngressClass": (_columns("Name Controller Parameters Age"), columns_core.ingress_class),
        "Job": (_columns("Name Status Completions Duration Age | Containers Images Selector"), columns_batch.job),
        "LimitRange": (_columns("Name Created_At"), columns_rbac.role),
        "PersistentVolume": (
            _columns("Name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass Reason Age | VolumeMode"),
            columns_storage.volume,
        ),
        "PersistentVolumeClaim": (
            _columns("Name Status Volume Capacity Access_Modes StorageClass Age | VolumeMode"),
            columns_storage.claim,
        ),
        "StorageClass": (
            _columns("Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion:boolean Age"),
            columns_storage.storage_class,
        ),
        "Lease": (_columns("Name Holder Age"), columns_core.lease),
        "Namespace": (_columns("Name Status Age"), columns_core.namespace),
        "NetworkPolicy": (_columns("Name Pod-Selector Age"), columns_core.network_policy),
        "ClusterNetworkPolicy": (_columns("Name Tier Priority Age"), columns_core.cluster_network_policy),
        "Node": (
            _columns(
                "Name Status Roles Age Version | Internal-IP External-IP OS-Image Kernel-Version Container-Runtime"
            ),
            columns_core.node,
        ),
        "Pod": (
            _columns("Name Ready Status Restarts Age | IP Node Nominated_Node Readiness_Gates"),
            columns_pod.pod,
        ),
        "PodDisruptionBudget": (
            _columns("Name Min_Available Max_Unavailable Allowed_Disruptions:integer Age"),
            columns_batch.disruption_budget,
        ),
        "PriorityClass": (
            _columns("Name Value:integer Global-Default:boolean Age PreemptionPolicy"),
            columns_batch.priority,
        ),
        "ReplicaSet": (
            _columns("Name Desired:integer Current:integer Ready:integer Age | Containers Images Selector"),
            columns_workload.replica_set,
        ),
        "ResourceQuota": (_columns("Name Request Limit Age"), columns_quota.quota),
        "Role": (_columns("Name Created_At"), columns_rbac.role),
        "RoleBinding": (_columns("Name Role Age | Users Groups ServiceAccounts"), columns_rbac.binding),
        "Secret": (_columns("Name Type Data:integer Age"), columns_core.secret),
        "Service": (_columns("Name Type Cluster-IP External-IP Port(s) Age | Selector"), columns_core.service),
        "ServiceAccount": (_columns("Name Secrets:integer Age"), columns_core.service_account),
        "StatefulSet": (_columns("Name Ready Age | Containers Images"), columns_workload.stateful_set),
        "MutatingWebhookConfiguration": (_columns("Name Webhooks:integer Age"), columns_core.webhooks),
        "ValidatingWebhookConfiguration": (_columns("Name Webhooks:integer Age"), columns_core.webhooks),
        "ValidatingAdmissionPolicy": (
            _columns("Name Validations:integer ParamKind Age"),
            columns_core.admission_policy,
        ),
        "ValidatingAdmissionPolicyBinding": (_columns("Name PolicyName ParamRef Age"), columns_core.admission_binding),
    }
)
