"""Any Kubernetes API as a source of objects and a sink of writes: a cluster, a folder of manifests, memory."""

from podwire.client.source import ApiError, Change, Source

__all__ = ["ApiError", "Change", "Source"]
