"""Listeners as protobuf fragments: ``http``, ``https`` with a filter chain per certificate, ``health``. Pure.

Rules:

1. A new certificate or host of a certificate changes one filter chain; connections of the others live on.
2. A client without SNI, or with a name no certificate is listed for, gets the default certificate.
3. Routes and certificates are fetched by name (RDS, SDS) over the same stream; all chains share one configuration.
   HTTPS answers carry HSTS, own errors too.
4. Limits and timeouts are ingress-nginx's: idle 75 s, headers in 60 s, 128 HTTP/2 streams, no names with ``_``.

Sources: Envoy v3 API (listener.proto, http_connection_manager.proto, tls.proto); Envoy "Configuring Envoy as an edge
proxy".
"""

from collections.abc import Iterable
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, config_source_pb2, protocol_pb2, substitution_format_string_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from google.protobuf import any_pb2, duration_pb2, wrappers_pb2

from podwire.planes.envoy.virtualhosts import CONFIGURATION, NOT_FOUND

ACCESS_LOG = (
    '%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% "%REQ(:METHOD)% '
    '%REQ(:SCHEME)%://%REQ(:AUTHORITY)%%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
    "%RESPONSE_FLAGS% %BYTES_SENT%B %DURATION%ms -> %UPSTREAM_CLUSTER% %UPSTREAM_HOST% [%ROUTE_NAME%]\n"
)
_WINDOW_BYTES = 1 << 16


def render_http(listen: str, port: int) -> bytes:
    """The plain HTTP listener."""
    chain = listener_components_pb2.FilterChain(name="http", filters=[_manager("http")])
    return _frame(listener_pb2.Listener(name="http", address=_address(listen, port), filter_chains=[chain]))


def render_https(listen: str, port: int, default_secret: str) -> bytes:
    """The frame of the TLS listener: all but the chains of certificates."""
    inspector = listener_components_pb2.ListenerFilter(name="tls", typed_config=_any(tls_inspector_pb2.TlsInspector()))
    listener = listener_pb2.Listener(name="https", address=_address(listen, port), listener_filters=[inspector])
    listener.default_filter_chain.CopyFrom(_tls_chain(default_secret))
    return _frame(listener)


def render_chain(secret: str, hosts: Iterable[str]) -> bytes:
    """The filter chain of one certificate for SNI ``hosts``, as a fragment of the TLS listener."""
    chain = _tls_chain(secret)
    chain.filter_chain_match.server_names.extend(sorted(hosts))
    return bytes(listener_pb2.Listener(filter_chains=[chain]).SerializeToString(deterministic=True))


def render_health(listen: str, port: int) -> bytes:
    """``/healthz`` answers 200 as soon as Envoy listens."""
    ok = route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(path="/healthz"),
        direct_response=route_components_pb2.DirectResponseAction(
            status=200, body=base_pb2.DataSource(inline_string="ok\n")
        ),
    )
    host = route_components_pb2.VirtualHost(name="health", domains=["*"], routes=[ok])
    manager = hcm.HttpConnectionManager(
        stat_prefix="health",
        route_config=route_pb2.RouteConfiguration(name="health", virtual_hosts=[host]),
        http_filters=[_router()],
    )
    chain = listener_components_pb2.FilterChain(name="health", filters=[_network_filter(manager)])
    return _frame(listener_pb2.Listener(name="health", address=_address(listen, port), filter_chains=[chain]))


def _frame(listener: Any) -> bytes:
    # Without SO_REUSEPORT a taken port is refused instead of shared in silence.
    listener.enable_reuse_port.CopyFrom(wrappers_pb2.BoolValue(value=False))
    listener.per_connection_buffer_limit_bytes.CopyFrom(wrappers_pb2.UInt32Value(value=1 << 15))
    return bytes(listener.SerializeToString(deterministic=True))


def _address(listen: str, port: int) -> Any:
    """``::`` takes clients of both families, and IPv4 ones keep their plain addresses."""
    socket = address_pb2.SocketAddress(address=listen, port_value=port, ipv4_compat=listen == "::")
    return address_pb2.Address(socket_address=socket)


def _tls_chain(secret: str) -> Any:
    context = tls_pb2.DownstreamTlsContext(
        common_tls_context=tls_pb2.CommonTlsContext(
            tls_params=common_pb2.TlsParameters(tls_minimum_protocol_version=common_pb2.TlsParameters.TLSv1_2),
            alpn_protocols=["h2", "http/1.1"],
            tls_certificate_sds_secret_configs=[secret_pb2.SdsSecretConfig(name=secret, sds_config=ads())],
        )
    )
    socket = base_pb2.TransportSocket(name="tls", typed_config=_any(context))
    return listener_components_pb2.FilterChain(name=secret, filters=[_manager("https")], transport_socket=socket)


def _manager(scheme: str) -> Any:
    manager = hcm.HttpConnectionManager(
        stat_prefix=scheme,
        rds=hcm.Rds(config_source=ads(), route_config_name=CONFIGURATION),
        local_reply_config=_own_replies(),
        http_filters=[*([_strict_transport()] if scheme == "https" else []), _router()],
        access_log=[_access_log()],
        upgrade_configs=[hcm.HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
        use_remote_address=wrappers_pb2.BoolValue(value=True),
        skip_xff_append=True,
        append_x_forwarded_port=True,
        preserve_external_request_id=True,
        normalize_path=wrappers_pb2.BoolValue(value=True),
        merge_slashes=True,
        server_header_transformation=hcm.HttpConnectionManager.PASS_THROUGH,
        request_headers_timeout=duration_pb2.Duration(seconds=60),
        stream_idle_timeout=duration_pb2.Duration(seconds=60),
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(
            idle_timeout=duration_pb2.Duration(seconds=75),
            headers_with_underscores_action=protocol_pb2.HttpProtocolOptions.DROP_HEADER,
        ),
        http_protocol_options=protocol_pb2.Http1ProtocolOptions(accept_http_10=True),
        http2_protocol_options=protocol_pb2.Http2ProtocolOptions(
            max_concurrent_streams=wrappers_pb2.UInt32Value(value=128),
            initial_stream_window_size=wrappers_pb2.UInt32Value(value=_WINDOW_BYTES),
            initial_connection_window_size=wrappers_pb2.UInt32Value(value=_WINDOW_BYTES * 16),
        ),
    )
    return _network_filter(manager)


def _network_filter(manager: Any) -> Any:
    return listener_components_pb2.Filter(name="http", typed_config=_any(manager))


def _router() -> Any:
    return hcm.HttpFilter(name="router", typed_config=_any(router_pb2.Router(suppress_envoy_headers=True)))


def _own_replies() -> Any:
    """No route, no virtual host (response flag NR): the default backend's words."""
    unrouted = accesslog_pb2.AccessLogFilter(response_flag_filter=accesslog_pb2.ResponseFlagFilter(flags=["NR"]))
    mapper = hcm.ResponseMapper(filter=unrouted, body=base_pb2.DataSource(inline_string=NOT_FOUND))
    return hcm.LocalReplyConfig(mappers=[mapper])


def _strict_transport() -> Any:
    header = base_pb2.HeaderValue(key="strict-transport-security", value="max-age=31536000; includeSubDomains")
    option = base_pb2.HeaderValueOption(
        header=header, append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    )
    mutations = header_mutation_pb2.Mutations(response_mutations=[mutation_rules_pb2.HeaderMutation(append=option)])
    return hcm.HttpFilter(name="hsts", typed_config=_any(header_mutation_pb2.HeaderMutation(mutations=mutations)))


def _access_log() -> Any:
    text = substitution_format_string_pb2.SubstitutionFormatString(
        text_format_source=base_pb2.DataSource(inline_string=ACCESS_LOG)
    )
    return accesslog_pb2.AccessLog(name="stdout", typed_config=_any(stream_pb2.StdoutAccessLog(log_format=text)))


def ads() -> Any:
    """Fetch over the stream we are on, and wait as long as it takes (a timeout would serve half a listener)."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        resource_api_version=config_source_pb2.V3,
        initial_fetch_timeout=duration_pb2.Duration(),
    )


def _any(message: Any) -> Any:
    packed = any_pb2.Any()
    packed.Pack(message, deterministic=True)
    return packed
