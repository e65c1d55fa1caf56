"""What the node runtime measures, as the metrics API has it: the source of ``kubectl top``."""

from typing import TYPE_CHECKING

from podwire.apiserver.metrics import Usage

if TYPE_CHECKING:
    from podwire.node import NodeRuntime
    from podwire.node.usage import Usage as Used


class Measured:
    """A :class:`podwire.apiserver.metrics.MetricsSource` over a runtime of this process."""

    def __init__(self, runtime: "NodeRuntime") -> None:
        """Nothing is read before somebody asks."""
        self._runtime = runtime

    def node_usage(self, name: str) -> Usage | None:
        """What the pods of a node use."""
        found = self._runtime.node_usage(name)
        return _told(found) if found is not None else None

    def pod_usage(self, uid: str) -> dict[str, Usage]:
        """What the containers of a pod use."""
        return {name: _told(used) for name, used in self._runtime.pod_usage(uid).items()}


def _told(used: "Used") -> Usage:
    return Usage(used.at, used.window_seconds, used.cpu_nanocores, used.memory_bytes)
