"""What an L7 proxy must serve: listeners, virtual hosts with ordered routes, clusters, certificates.

Rules:

1. One :class:`ProxyPlan` per proxy process (today: the Ingress controller's Envoy). Its parts are keyed units; a
   change of one endpoint replaces one :class:`Cluster` and nothing else.
2. Routes inside a virtual host are already in match order; :func:`decide_route` and the Envoy renderer both take the
   first that matches.
3. A unit that Envoy must not get (broken certificate, missing backend) is not in the plan: its finding is.

Sources: Ingress v1 API (path types), ingress-nginx user guide.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from podwire.base import Origin, Ref

PathType = Literal["exact", "prefix"]


class Upstream(msgspec.Struct, frozen=True, order=True):
    """One endpoint address of a cluster."""

    address: str
    port: int


class Cluster(msgspec.Struct, frozen=True):
    """The endpoints of one Service port as an upstream. Key: ``namespace/service:port``."""

    origin: Origin
    key: str
    service: Ref
    upstreams: tuple[Upstream, ...]
    http2: bool = False
    tls: bool = False


class Certificate(msgspec.Struct, frozen=True):
    """A usable key pair. Key: ``namespace/secret``. ``private_key`` never appears in texts or logs."""

    origin: Origin
    key: str
    chain_pem: str
    key_pem: str

    def __repr__(self) -> str:
        """Without the key."""
        return f"Certificate({self.key})"


class Route(msgspec.Struct, frozen=True):
    """One path of one host. ``cluster`` empty: answer ``status`` directly.

    ``prefix`` matches whole path elements, as the Ingress API says: ``/foo`` matches ``/foo`` and ``/foo/bar``,
    never ``/foobar``.
    """

    origin: Origin
    path_type: PathType
    path: str
    cluster: str = ""
    status: int = 0
    redirect_https: bool = False


class VirtualHost(msgspec.Struct, frozen=True):
    """A host and its ordered routes. ``host``: exact, ``*.example.com`` (one label, as Ingress says), or ``*``.

    ``certificate`` is the key of a :class:`Certificate`, or empty for plain HTTP (then the proxy's default serves).
    """

    host: str
    routes: tuple[Route, ...]
    certificate: str = ""
    redirect_https: bool = False


class ProxyPlan(msgspec.Struct, frozen=True):
    """One proxy: ports it listens on and everything behind them. ``key`` names the proxy, e.g. ``ingress-nginx``.

    ``listen`` is 0.0.0.0, or :: for clients of both families.
    """

    key: str
    http_port: int
    https_port: int
    health_port: int
    hosts: Mapping[str, VirtualHost]
    clusters: Mapping[str, Cluster]
    certificates: Mapping[str, Certificate]
    default_certificate: str = ""
    listen: str = "0.0.0.0"  # noqa: S104 - inside the network namespace of the proxy's pod


class RoutePlan(msgspec.Struct, frozen=True):
    """All proxies."""

    proxies: Mapping[str, ProxyPlan]


class RouteDecision(msgspec.Struct, frozen=True):
    """Which host and route answer; ``route`` None is the 404 of the default backend."""

    host: VirtualHost | None
    route: Route | None
    cluster: Cluster | None
    status: int
    why: str


def matches_path(route: Route, path: str) -> bool:
    """Exact or element-wise prefix match of a request path without its query."""
    if route.path_type == "exact":
        return path == route.path
    stem = route.path.rstrip("/")
    return not stem or path == stem or path.startswith(stem + "/")


def find_host(proxy: ProxyPlan, host: str) -> VirtualHost | None:
    """Exact host first, then ``*.`` with exactly one label in front, then ``*``."""
    name = host.lower().split(":", 1)[0]
    parent = name.partition(".")[2]
    return proxy.hosts.get(name) or (proxy.hosts.get(f"*.{parent}") if parent else None) or proxy.hosts.get("*")


def decide_route(proxy: ProxyPlan, *, host: str, path: str, tls: bool) -> RouteDecision:
    """What the proxy answers to a request: a cluster, a redirect, or a status of its own."""
    virtual = find_host(proxy, host)
    if virtual is None:
        return RouteDecision(None, None, None, 404, "no host matches")
    route = next((r for r in virtual.routes if matches_path(r, path)), None)
    if route is None:
        return RouteDecision(virtual, None, None, 404, "no path matches")
    if (route.redirect_https or virtual.redirect_https) and not tls:
        return RouteDecision(virtual, route, None, 308, "redirected to https")
    if not route.cluster:
        return RouteDecision(virtual, route, None, route.status, "answered by the proxy itself")
    cluster = proxy.clusters[route.cluster]
    if not cluster.upstreams:
        return RouteDecision(virtual, route, cluster, 503, "no ready endpoint")
    return RouteDecision(virtual, route, cluster, 200, "forwarded")
