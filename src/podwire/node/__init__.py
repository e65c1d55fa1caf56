"""Nodes and pods as network namespaces: links, addresses, processes, probes, logs, exec, stand-ins.

Sees plans only. :class:`NodeRuntime` drives ``NodePlan`` on this machine; :class:`FakeNodeRuntime` answers the same
calls without packets. Names are loaded when asked for, as offline commands need none of this.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podwire.node.cleanup import clean, list_clusters
    from podwire.node.fake import FakeNodeRuntime
    from podwire.node.runtime import NodeRuntime
    from podwire.node.streams import ExecSession

__all__ = ["ExecSession", "FakeNodeRuntime", "NodeRuntime", "clean", "list_clusters"]

_HOMES = {
    "ExecSession": "streams",
    "FakeNodeRuntime": "fake",
    "NodeRuntime": "runtime",
    "clean": "cleanup",
    "list_clusters": "cleanup",
}


def __getattr__(name: str) -> Any:
    """Load a public name."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"podwire.node.{_HOMES[name]}"), name)
