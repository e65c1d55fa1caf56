"""The embedded Kubernetes-compatible API server: store, verbs, patches, watch, discovery, streams.

Knows kinds, not networking. ``ApiServer`` is the whole of it; refused requests are ``StatusError``.
"""

from podwire.apiserver.kubeconfig import Kubeconfig
from podwire.apiserver.server import ApiServer, ApiSettings, Subscription
from podwire.apiserver.status import StatusError

__all__ = ["ApiServer", "ApiSettings", "Kubeconfig", "StatusError", "Subscription"]
