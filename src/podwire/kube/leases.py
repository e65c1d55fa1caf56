"""coordination.k8s.io/v1: Lease."""

from podwire.kube.meta import KubeObject
from podwire.kube.struct import KubeStruct


class LeaseSpec(KubeStruct, frozen=True):
    """Who holds the lease, since when and for how long."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None
    strategy: str | None = None
    preferred_holder: str | None = None


class Lease(KubeObject, frozen=True):
    """A lock with an owner and an expiry: leader election of clients, heartbeats of nodes."""

    spec: LeaseSpec = LeaseSpec()
