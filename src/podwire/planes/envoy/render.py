"""A proxy plan as Envoy resources: which parts there are, what they contain, and which of them a unit needs. Pure.

Rules:

1. A part depends on as little of the plan as possible: an endpoint change touches one ``endpoint`` resource, a
   change of a host its own fragment of the two route configurations.
2. Unchanged units give the *same* bytes objects; the machine compares by identity first.
3. A certificate Envoy refused (and never accepted in an earlier form) is left out: its hosts are served with the
   default certificate, as ingress-nginx does.

Sources: Envoy v3 API (cluster.proto, endpoint.proto, secret.proto).
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, protocol_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as upstream_http
from envoy.type.v3 import percent_pb2
from google.protobuf import any_pb2, duration_pb2, wrappers_pb2

from podwire.plan import Certificate, Cluster, ProxyPlan
from podwire.planes.envoy import listeners, virtualhosts
from podwire.planes.envoy.machine import FRAME, WHOLE, Parts, Type, Wanted

DEFAULT_SECRET = "default"  # noqa: S105 - the name of a resource
CONNECT_SECONDS = 5
_UNLIMITED = 1_000_000
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

Need = tuple[Type, str, str]
T = TypeVar("T")


class KeyPair(msgspec.Struct, frozen=True):
    """The certificate of last resort."""

    chain_pem: str
    key_pem: str


class Rendered(msgspec.Struct, frozen=True):
    """Resources by type and name. ``chains`` are the SNI names of each certificate in use, ``default`` the
    certificate of the default chain if it is one of the plan's."""

    wanted: Wanted
    chains: Mapping[str, tuple[str, ...]]
    default: str = ""

    def needs_of(self, unit: str, certificate: str = "") -> tuple[Need, ...]:
        """The parts that must be confirmed for a unit to be in force. ``certificate`` is the one a host names."""
        kind, _, key = unit.partition("/")
        if kind == "cluster":
            return (("cluster", key, unit), ("endpoint", key, unit))
        if kind == "certificate":
            named: tuple[Need, ...] = (("secret", key, unit),) if key in self.chains else ()
            return (*named, ("secret", DEFAULT_SECRET, unit)) if key == self.default else named
        routes: Need = ("route", virtualhosts.CONFIGURATION, unit)
        if not certificate or key == "*":
            return (routes,)
        # A refused certificate moved the host to the default chain: then the listener as a whole counts.
        chain = f"certificate/{certificate}" if certificate in self.chains else WHOLE
        return (routes, ("listener", "https", chain))


class _Cache:
    """What was made from which inputs; inputs are compared by identity, simple values by equality."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[Any, ...], Any]] = {}
        self._used: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def keep(self, key: str, inputs: tuple[Any, ...], make: Callable[[], T]) -> T:
        """``make()``, or the same object as last time for the same inputs or an equal result."""
        known = self._known.get(key)
        if known is None or not _same(known[0], inputs):
            made = make()
            known = (inputs, known[1] if known is not None and known[1] == made else made)
        self._used[key] = known
        return known[1]  # type: ignore[no-any-return]

    def sweep(self) -> None:
        """Forget what was not asked for since the last sweep."""
        self._known, self._used = self._used, {}


class Renderer:
    """Renders plan after plan of one proxy, sharing what did not change: mapping by mapping, then unit by unit."""

    def __init__(self, fallback: KeyPair) -> None:
        """``fallback`` serves TLS clients nobody has a certificate for."""
        self._fallback = fallback
        self._whole, self._clusters, self._endpoints, self._hosts, self._tls = (_Cache() for _ in range(5))

    def render(self, proxy: ProxyPlan, *, refused: frozenset[str] = frozenset()) -> Rendered:
        """All resources of ``proxy`` without the certificates named in ``refused``."""
        keep = self._whole.keep
        certificates = proxy.certificates
        if refused:
            certificates = {key: c for key, c in certificates.items() if key not in refused}
        chains = keep("chains", (proxy.hosts, certificates), lambda: _chains(proxy, certificates))
        default = certificates.get(proxy.default_certificate)
        wanted: Wanted = {
            "cluster": keep("clusters", (proxy.clusters,), lambda: self._render_clusters(proxy)),
            "endpoint": keep("endpoints", (proxy.clusters,), lambda: self._render_endpoints(proxy)),
            "secret": self._render_secrets(certificates, default),
            "listener": self._render_listeners(proxy, chains),
            "route": {virtualhosts.CONFIGURATION: keep("routes", (proxy.hosts,), lambda: self._render_routes(proxy))},
        }
        self._whole.sweep()
        self._tls.sweep()
        return Rendered(wanted, chains, default.key if default else "")

    def _render_clusters(self, proxy: ProxyPlan) -> Mapping[str, Parts]:
        made: dict[str, Parts] = {}
        for key, cluster in sorted(proxy.clusters.items()):
            inputs = (cluster.http2, cluster.tls)
            made[key] = self._clusters.keep(key, inputs, lambda k=key, c=cluster: _part(k, render_cluster(c)))  # type: ignore[misc]
        self._clusters.sweep()
        return made

    def _render_endpoints(self, proxy: ProxyPlan) -> Mapping[str, Parts]:
        made: dict[str, Parts] = {}
        for key, cluster in sorted(proxy.clusters.items()):
            inputs = (cluster.upstreams,)
            made[key] = self._endpoints.keep(key, inputs, lambda k=key, c=cluster: _part(k, render_endpoints(c)))  # type: ignore[misc]
        self._endpoints.sweep()
        return made

    def _render_secrets(
        self, certificates: Mapping[str, Certificate], default: Certificate | None
    ) -> Mapping[str, Parts]:
        secrets: dict[str, Parts] = {}
        for key, certificate in sorted(certificates.items()):
            secrets[key] = self._tls.keep(
                f"secret/{key}",
                (certificate,),
                lambda k=key, c=certificate: {f"certificate/{k}": render_secret(k, c.chain_pem, c.key_pem)},  # type: ignore[misc]
            )
        pair = default or self._fallback
        part = f"certificate/{default.key}" if default else FRAME
        secrets[DEFAULT_SECRET] = self._tls.keep(
            "default", (pair,), lambda: {part: render_secret(DEFAULT_SECRET, pair.chain_pem, pair.key_pem)}
        )
        return secrets

    def _render_listeners(self, proxy: ProxyPlan, chains: Mapping[str, tuple[str, ...]]) -> Mapping[str, Parts]:
        keep = self._tls.keep
        https = {FRAME: keep("https", (proxy.listen, proxy.https_port), lambda: _https(proxy))}
        for key, hosts in chains.items():
            https[f"certificate/{key}"] = keep(
                f"chain/{key}",
                (hosts,),
                lambda k=key, h=hosts: listeners.render_chain(k, h),  # type: ignore[misc]
            )
        listen, http, health = proxy.listen, proxy.http_port, proxy.health_port
        return {
            "health": keep("health", (listen, health), lambda: {FRAME: listeners.render_health(listen, health)}),
            "http": keep("http", (listen, http), lambda: {FRAME: listeners.render_http(listen, http)}),
            "https": keep("listener/https", tuple(https.items()), lambda: https),
        }

    def _render_routes(self, proxy: ProxyPlan) -> Parts:
        keep, fallback = self._hosts.keep, proxy.hosts.get("*")
        parts = {FRAME: keep(FRAME, (), virtualhosts.render_configuration)}
        for name, host in sorted(proxy.hosts.items()):
            seen = fallback if name.startswith("*.") else None
            parts[f"host/{name}"] = keep(
                name,
                (host, seen),
                lambda h=host, f=seen: virtualhosts.render_host(h, fallback=f),  # type: ignore[misc]
            )
        self._hosts.sweep()
        return parts


def _part(key: str, body: bytes) -> Parts:
    return {f"cluster/{key}": body}


def render_cluster(cluster: Cluster) -> bytes:
    """Endpoints come by EDS. Limits are lifted: ingress-nginx has none, Envoy's default is 1,024 of each."""
    limits = {
        name: wrappers_pb2.UInt32Value(value=_UNLIMITED)
        for name in ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    }
    made = cluster_pb2.Cluster(
        name=cluster.key,
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=listeners.ads()),
        connect_timeout=duration_pb2.Duration(seconds=CONNECT_SECONDS),
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(
            thresholds=[circuit_breaker_pb2.CircuitBreakers.Thresholds(**limits)]
        ),
        common_lb_config=cluster_pb2.Cluster.CommonLbConfig(
            update_merge_window=duration_pb2.Duration(),
            healthy_panic_threshold=percent_pb2.Percent(value=0),
        ),
    )
    made.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(_http_options(cluster.http2))
    if cluster.tls:  # unverified, as ingress-nginx's backend-protocol HTTPS
        made.transport_socket.name = "tls"
        made.transport_socket.typed_config.Pack(tls_pb2.UpstreamTlsContext(), deterministic=True)
    return bytes(made.SerializeToString(deterministic=True))


def render_endpoints(cluster: Cluster) -> bytes:
    """The assignment of one cluster; empty is an answer too (503)."""
    found = [endpoint_components_pb2.LbEndpoint(endpoint=_endpoint(u.address, u.port)) for u in cluster.upstreams]
    group = [endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=found)] if found else []
    made = endpoint_pb2.ClusterLoadAssignment(cluster_name=cluster.key, endpoints=group)
    return bytes(made.SerializeToString(deterministic=True))


def render_secret(name: str, chain_pem: str, key_pem: str) -> bytes:
    """A key pair, inline."""
    pair = common_pb2.TlsCertificate(
        certificate_chain=base_pb2.DataSource(inline_string=chain_pem),
        private_key=base_pb2.DataSource(inline_string=key_pem),
    )
    return bytes(secret_pb2.Secret(name=name, tls_certificate=pair).SerializeToString(deterministic=True))


def _https(proxy: ProxyPlan) -> bytes:
    return listeners.render_https(proxy.listen, proxy.https_port, DEFAULT_SECRET)


def _endpoint(address: str, port: int) -> Any:
    socket = address_pb2.SocketAddress(address=address, port_value=port)
    return endpoint_components_pb2.Endpoint(address=address_pb2.Address(socket_address=socket))


def _http_options(http2: bool) -> Any:
    explicit = upstream_http.HttpProtocolOptions.ExplicitHttpConfig()
    if http2:
        explicit.http2_protocol_options.CopyFrom(protocol_pb2.Http2ProtocolOptions())
    else:
        explicit.http_protocol_options.CopyFrom(protocol_pb2.Http1ProtocolOptions())
    options = upstream_http.HttpProtocolOptions(
        explicit_http_config=explicit,
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(idle_timeout=duration_pb2.Duration(seconds=60)),
    )
    packed = any_pb2.Any()
    packed.Pack(options, deterministic=True)
    return packed


def _chains(proxy: ProxyPlan, certificates: Mapping[str, Certificate]) -> dict[str, tuple[str, ...]]:
    """SNI names by certificate. ``*`` has no name of its own: it is the default chain."""
    chains: dict[str, list[str]] = {}
    for name, host in sorted(proxy.hosts.items()):
        if name != "*" and host.certificate in certificates:
            chains.setdefault(host.certificate, []).append(name)
    return {key: tuple(hosts) for key, hosts in sorted(chains.items())}


def _same(old: tuple[Any, ...], new: tuple[Any, ...]) -> bool:
    if len(old) != len(new):
        return False
    return all(a is b or (isinstance(a, str | int | tuple | bytes) and a == b) for a, b in zip(old, new, strict=True))
