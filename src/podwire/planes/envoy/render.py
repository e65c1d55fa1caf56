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

from podwire.plan import Certificate, Cluster, ProxyPlan, VirtualHost
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
    """Resources by type and name; ``needs`` are the parts that must be confirmed for a unit to be in force."""

    wanted: Wanted
    needs: Mapping[str, tuple[Need, ...]]


class Renderer:
    """Renders plan after plan of one proxy, sharing what did not change."""

    def __init__(self, fallback: KeyPair) -> None:
        """``fallback`` serves TLS clients nobody has a certificate for."""
        self._fallback = fallback
        self._known: dict[str, tuple[tuple[Any, ...], Any]] = {}
        self._used: set[str] = set()

    def render(self, proxy: ProxyPlan, *, refused: frozenset[str] = frozenset()) -> Rendered:
        """All resources of ``proxy`` without the certificates named in ``refused``."""
        certificates = {key: c for key, c in proxy.certificates.items() if key not in refused}
        chains = _chains(proxy, certificates)
        default = certificates.get(proxy.default_certificate)
        wanted: Wanted = {
            "cluster": {key: self._cluster(key, c) for key, c in sorted(proxy.clusters.items())},
            "endpoint": {key: self._endpoints(key, c) for key, c in sorted(proxy.clusters.items())},
            "secret": self._secrets(certificates, default),
            "listener": self._listeners(proxy, chains),
            "route": {virtualhosts.CONFIGURATION: self._routes(proxy)},
        }
        self._known = {key: value for key, value in self._known.items() if key in self._used}
        self._used = set()
        return Rendered(wanted, _needs(proxy, chains, default))

    def _keep(self, key: str, inputs: tuple[Any, ...], make: Callable[[], T]) -> T:
        """``make()``, or the same object as last time for identical (or equal simple) inputs."""
        self._used.add(key)
        known = self._known.get(key)
        if known is not None and (known[0] is inputs or _same(known[0], inputs)):
            return known[1]  # type: ignore[no-any-return]
        made = make()
        if known is not None and known[1] == made:
            made = known[1]
        self._known[key] = (inputs, made)
        return made

    def _cluster(self, key: str, cluster: Cluster) -> Parts:
        inputs = (key, cluster.http2, cluster.tls)
        return self._keep(f"cluster/{key}", inputs, lambda: {f"cluster/{key}": render_cluster(cluster)})

    def _endpoints(self, key: str, cluster: Cluster) -> Parts:
        inputs = (cluster.upstreams,)
        return self._keep(f"endpoint/{key}", inputs, lambda: {f"cluster/{key}": render_endpoints(cluster)})

    def _secrets(self, certificates: Mapping[str, Certificate], default: Certificate | None) -> Mapping[str, Parts]:
        secrets: dict[str, Parts] = {}
        for key, certificate in sorted(certificates.items()):
            secrets[key] = self._keep(
                f"secret/{key}",
                (certificate,),
                lambda k=key, c=certificate: {f"certificate/{k}": render_secret(k, c.chain_pem, c.key_pem)},  # type: ignore[misc]
            )
        pair = default or self._fallback
        part = f"certificate/{default.key}" if default else FRAME
        secrets[DEFAULT_SECRET] = self._keep(
            "default", (pair,), lambda: {part: render_secret(DEFAULT_SECRET, pair.chain_pem, pair.key_pem)}
        )
        return secrets

    def _listeners(self, proxy: ProxyPlan, chains: Mapping[str, tuple[str, ...]]) -> Mapping[str, Parts]:
        https = {FRAME: self._keep("https", (proxy.https_port,), lambda: _https(proxy.https_port))}
        for key, hosts in chains.items():
            https[f"certificate/{key}"] = self._keep(
                f"chain/{key}",
                (hosts,),
                lambda k=key, h=hosts: listeners.render_chain(k, h),  # type: ignore[misc]
            )
        http, health = proxy.http_port, proxy.health_port
        return {
            "health": self._keep("health", (health,), lambda: {FRAME: listeners.render_health(health)}),
            "http": self._keep("http", (http,), lambda: {FRAME: listeners.render_http(http)}),
            "https": self._keep("listener/https", tuple(https.items()), lambda: https),
        }

    def _routes(self, proxy: ProxyPlan) -> Parts:
        fallback = proxy.hosts.get("*")
        has_any = fallback is not None
        frame = self._keep("frame", (has_any,), lambda: virtualhosts.render_configuration(has_any=has_any))
        parts = {FRAME: frame}
        for name, host in sorted(proxy.hosts.items()):
            parts[f"host/{name}"] = self._host(host, fallback)
        return self._keep("routes", tuple(parts.values()), lambda: parts)

    def _host(self, host: VirtualHost, fallback: VirtualHost | None) -> bytes:
        seen = fallback if host.host.startswith("*.") else None
        return self._keep(f"host/{host.host}", (host, seen), lambda: virtualhosts.render_host(host, fallback=seen))


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


def _https(port: int) -> bytes:
    return listeners.render_https(port, DEFAULT_SECRET)


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


def _needs(
    proxy: ProxyPlan, chains: Mapping[str, tuple[str, ...]], default: Certificate | None
) -> dict[str, tuple[Need, ...]]:
    needs: dict[str, tuple[Need, ...]] = {}
    for name, host in proxy.hosts.items():
        part = f"host/{name}"
        tls: tuple[Need, ...] = ()
        if name != "*" and host.certificate in chains:
            tls = (("listener", "https", f"certificate/{host.certificate}"),)
        elif host.certificate:
            tls = (("listener", "https", WHOLE),)  # moved to the default chain
        needs[part] = (("route", virtualhosts.CONFIGURATION, part), *tls)
    for key in proxy.clusters:
        needs[f"cluster/{key}"] = (("cluster", key, f"cluster/{key}"), ("endpoint", key, f"cluster/{key}"))
    for key in proxy.certificates:
        part = f"certificate/{key}"
        named: tuple[Need, ...] = (("secret", key, part),) if key in chains else ()
        fallback: tuple[Need, ...] = (("secret", DEFAULT_SECRET, part),) if default and default.key == key else ()
        needs[part] = (*named, *fallback)
    return needs


def _same(old: tuple[Any, ...], new: tuple[Any, ...]) -> bool:
    if len(old) != len(new):
        return False
    return all(a is b or (isinstance(a, str | int | tuple | bytes) and a == b) for a, b in zip(old, new, strict=True))
