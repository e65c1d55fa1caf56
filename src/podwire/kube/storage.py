"""PersistentVolumeClaim, PersistentVolume (core/v1) and StorageClass (storage.k8s.io/v1).

Sources of volumes that nothing here mounts are kept as they are.

Spec: k8s.io/api/core/v1, k8s.io/api/storage/v1 of 1.36.
"""

from typing import Annotated, Any

from podwire.kube.meta import Condition, KubeObject
from podwire.kube.pods import ATOMIC
from podwire.kube.struct import KubeStruct, api


class VolumeResourceRequirements(KubeStruct, frozen=True):
    """How much storage."""

    limits: dict[str, str | int | float] = {}
    requests: dict[str, str | int | float] = {}


class PersistentVolumeClaimSpec(KubeStruct, frozen=True):
    """What storage is asked for."""

    access_modes: Annotated[tuple[str, ...], ATOMIC] = ()
    selector: Annotated[dict[str, Any] | None, api(parts="LabelSelector")] = None
    resources: VolumeResourceRequirements = VolumeResourceRequirements()
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str | None = None
    data_source: dict[str, Any] | None = None
    data_source_ref: dict[str, Any] | None = None
    volume_attributes_class_name: str | None = None


class PersistentVolumeClaimStatus(KubeStruct, frozen=True):
    """What storage was found."""

    phase: str = ""
    access_modes: Annotated[tuple[str, ...], ATOMIC] = ()
    capacity: dict[str, str | int | float] = {}
    conditions: Annotated[tuple[Condition, ...], api(merge_key="type", list_type="map", list_map_keys=("type",))] = ()
    allocated_resources: dict[str, str | int | float] = {}
    allocated_resource_statuses: dict[str, str] = {}
    current_volume_attributes_class_name: str | None = None
    modify_volume_status: dict[str, Any] | None = None


class PersistentVolumeClaim(KubeObject, frozen=True):
    """Storage a pod wants, independent of the pod's life."""

    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()
    status: PersistentVolumeClaimStatus = PersistentVolumeClaimStatus()


class PersistentVolumeSpec(KubeStruct, frozen=True):
    """A piece of storage."""

    capacity: dict[str, str | int | float] = {}
    access_modes: Annotated[tuple[str, ...], ATOMIC] = ()
    claim_ref: Annotated[dict[str, Any] | None, api(map_type="granular")] = None
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    mount_options: Annotated[tuple[str, ...], ATOMIC] = ()
    volume_mode: str | None = None
    node_affinity: dict[str, Any] | None = None
    volume_attributes_class_name: str | None = None
    host_path: dict[str, Any] | None = None
    local: dict[str, Any] | None = None
    csi: dict[str, Any] | None = None
    nfs: dict[str, Any] | None = None
    iscsi: dict[str, Any] | None = None
    fc: dict[str, Any] | None = None
    aws_elastic_block_store: dict[str, Any] | None = None
    azure_disk: dict[str, Any] | None = None
    azure_file: dict[str, Any] | None = None
    gce_persistent_disk: dict[str, Any] | None = None


class PersistentVolumeStatus(KubeStruct, frozen=True):
    """Available, Bound, Released or Failed."""

    phase: str = ""
    message: str = ""
    reason: str = ""
    last_phase_transition_time: str | None = None


class PersistentVolume(KubeObject, frozen=True):
    """Storage of the cluster."""

    spec: PersistentVolumeSpec = PersistentVolumeSpec()
    status: PersistentVolumeStatus = PersistentVolumeStatus()


class StorageClass(KubeObject, frozen=True):
    """How storage is made for claims."""

    provisioner: Annotated[str, api(required=True)] = ""
    parameters: dict[str, str] = {}
    reclaim_policy: str | None = None
    mount_options: Annotated[tuple[str, ...], ATOMIC] = ()
    allow_volume_expansion: bool | None = None
    volume_binding_mode: str | None = None
    allowed_topologies: Annotated[tuple[dict[str, Any], ...], ATOMIC] = ()
