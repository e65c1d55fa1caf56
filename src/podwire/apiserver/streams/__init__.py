"""Streams of pods: log, exec, attach, port-forward, over HTTP, WebSocket and SPDY/3.1."""

from podwire.apiserver.streams.backend import ExecSession, PodBackend
from podwire.apiserver.streams.serve import handle

__all__ = ["ExecSession", "PodBackend", "handle"]
