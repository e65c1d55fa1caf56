"""What the drivers observed: the other half of the loop.

Facts enter the next snapshot, so ``Ready`` and ``Programmed`` are pure functions of them. A fact is a value: two
equal facts mean nothing happened.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec


class ContainerFact(msgspec.Struct, frozen=True):
    """State of one container. Times are seconds since the epoch."""

    name: str
    state: Literal["waiting", "running", "terminated"]
    ready: bool = False
    started: bool = False
    restarts: int = 0
    reason: str = ""
    message: str = ""
    started_at: float = 0
    finished_at: float = 0
    exit_code: int = 0
    container_id: str = ""
    last_exit_code: int | None = None
    last_reason: str = ""
    last_started_at: float = 0
    last_finished_at: float = 0


class PodFact(msgspec.Struct, frozen=True):
    """State of one pod sandbox. ``gone`` is the last fact of a pod: nothing of it is left on this machine."""

    uid: str
    node: str
    addresses: tuple[str, ...] = ()
    containers: tuple[ContainerFact, ...] = ()
    init_containers: tuple[ContainerFact, ...] = ()
    ephemeral_containers: tuple[ContainerFact, ...] = ()
    gone: bool = False
    message: str = ""
    started_at: float = 0
    reason: str = ""
    """Why the pod as a whole failed: DeadlineExceeded, Evicted."""


class NodeFact(msgspec.Struct, frozen=True):
    """Whether a node's namespace is up."""

    ready: bool
    message: str = ""
    silent_since: float = 0
    """Since when its link is cut; 0: it is not."""


class AttachmentFact(msgspec.Struct, frozen=True):
    """A container of another runtime that was given a place on a node's network (CNI), and the pod it belongs to.

    ``ports``: host port, container port, protocol, host address (empty: any). ``gone``: a pod that was made for a
    container is still there, the container is not; ``forgotten``: there is nothing left to say.
    """

    container: str
    node: str
    namespace: str
    name: str
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[tuple[int, int, str, str], ...] = ()
    state: Literal["attached", "gone", "forgotten"] = "attached"


class PlaneFact(msgspec.Struct, frozen=True):
    """What a data plane confirmed. ``applied`` maps unit keys to :func:`podwire.plan.digest` of the unit in force;
    ``rejected`` maps unit keys to the plane's own words. ``ready`` is false until the plane serves at all."""

    ready: bool
    applied: Mapping[str, str] = {}
    rejected: Mapping[str, str] = {}
    message: str = ""


NAMES_UNIT = "resolved-names"
"""What a plane that has all of a :class:`NamesFact` says, with the revision. It comes after the units of pods, whose
addresses are theirs whoever has a name for them."""


class NamesFact(msgspec.Struct, frozen=True):
    """Addresses of names outside the cluster, as our DNS answered them: by name, with the second at which each ends.
    ``revision`` grows with every change; a plane that says :data:`NAMES_UNIT` of that number has them all."""

    names: Mapping[str, tuple[tuple[str, float], ...]] = {}
    revision: int = 0


class EventFact(msgspec.Struct, frozen=True, order=True):
    """Something worth an Event on an object, once: image decision, probe failure, restart."""

    kind: str
    namespace: str
    name: str
    uid: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    component: str
    at: float


class Facts(msgspec.Struct, frozen=True):
    """Everything observed so far. ``pods`` by uid, ``nodes`` by name, ``planes`` by plane or proxy key,
    ``attachments`` while they last."""

    pods: Mapping[str, PodFact] = {}
    nodes: Mapping[str, NodeFact] = {}
    planes: Mapping[str, PlaneFact] = {}
    events: tuple[EventFact, ...] = ()
    names: NamesFact = NamesFact()
    attachments: Mapping[str, AttachmentFact] = {}
