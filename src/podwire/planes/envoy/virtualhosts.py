"""The route configuration and its virtual hosts as protobuf fragments. Pure.

Rules:

1. One configuration serves both listeners (at 5,000 hosts two cost Envoy twice 50 MB and 100 ms a change): a redirect
   is a route of its own in front, for requests whose X-Forwarded-Proto, which the listener overwrites, is http.
2. ``*.example.com`` is exactly one label to Ingress, any number to Envoy. Requests with more labels take the routes
   of ``*`` first, by a negated match on the authority (Envoy tries the longest suffix only, and never goes on).
3. What no route matches is Envoy's own 404, which the listener dresses as the default backend's. No route says so:
   it would be one more in each of thousands of hosts.
4. Headers to the backend are ingress-nginx's: X-Forwarded-* and X-Real-IP are overwritten, ``Proxy`` is removed, a
   client's X-Forwarded-For and -Host survive as X-Original-Forwarded-*. HTTPS answers carry HSTS.

Sources: Envoy v3 API (route_components.proto); ingress-nginx nginx.tmpl; Ingress v1 API ("Wildcard hosts").
"""

import re
from collections.abc import Iterator
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2 as rc
from envoy.config.route.v3 import route_pb2
from google.protobuf import duration_pb2, wrappers_pb2

from podwire.plan import Route, VirtualHost

CONFIGURATION = "ingress"
NOT_FOUND = "default backend - 404\n"
UNAVAILABLE = "503 Service Temporarily Unavailable\n"
_BODIES = {404: NOT_FOUND, 503: UNAVAILABLE}
_OVERWRITE = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


def render_configuration() -> bytes:
    """The frame of the route configuration: everything but the virtual hosts of the plan."""
    config = route_pb2.RouteConfiguration(
        name=CONFIGURATION,
        ignore_port_in_host_matching=True,
        request_headers_to_add=_forwarded(),
        request_headers_to_remove=["proxy", "x-envoy-external-address", "x-envoy-internal"],
        response_headers_to_remove=["server"],
        validate_clusters=wrappers_pb2.BoolValue(value=False),
    )
    return bytes(config.SerializeToString(deterministic=True))


def render_host(host: VirtualHost, *, fallback: VirtualHost | None) -> bytes:
    """One virtual host, as a fragment of the route configuration. ``fallback`` is the plan's ``*``."""
    routes = list(_routes(host))
    if host.host.startswith("*."):
        routes[:0] = _beyond_one_label(host.host, fallback)
    made = _virtual_host(host.host, routes)
    return bytes(route_pb2.RouteConfiguration(virtual_hosts=[made]).SerializeToString(deterministic=True))


def _virtual_host(domain: str, routes: list[Any]) -> Any:
    return rc.VirtualHost(
        name=domain,
        domains=[domain],
        routes=routes,
        retry_policy=rc.RetryPolicy(
            retry_on="connect-failure,refused-stream,reset-before-request",
            num_retries=wrappers_pb2.UInt32Value(value=2),
        ),
    )


def _beyond_one_label(wildcard: str, fallback: VirtualHost | None) -> Iterator[Any]:
    one_label = rf"(?i)[^.]+{re.escape(wildcard[1:])}(:[0-9]+)?"
    for route in (*(_routes(fallback) if fallback else ()), _not_found()):
        matcher = route.match.headers.add(name=":authority", invert_match=True)
        matcher.string_match.safe_regex.regex = one_label
        yield route


def _routes(host: VirtualHost) -> Iterator[Any]:
    for route in host.routes:
        if route.redirect_https or host.redirect_https:
            yield _redirect(host, route)
        yield _action(route)


def _redirect(host: VirtualHost, route: Route) -> Any:
    made = rc.Route(name=str(route.origin), match=_match(route))
    plain = made.match.headers.add(name="x-forwarded-proto")
    plain.string_match.exact = "http"
    made.redirect.https_redirect = True
    made.redirect.response_code = rc.RedirectAction.PERMANENT_REDIRECT
    if "*" not in host.host:
        made.redirect.host_redirect = host.host  # without the port, as nginx answers
    return made


def _action(route: Route) -> Any:
    made = rc.Route(name=str(route.origin), match=_match(route))
    if not route.cluster:
        made.direct_response.status = route.status
        made.direct_response.body.inline_string = _BODIES.get(route.status, f"{route.status}\n")
    else:
        made.route.cluster = route.cluster
        made.route.timeout.CopyFrom(duration_pb2.Duration())
    return made


def _match(route: Route) -> Any:
    if route.path_type == "exact":
        return rc.RouteMatch(path=route.path)
    stem = route.path.rstrip("/")
    return rc.RouteMatch(path_separated_prefix=stem) if stem else rc.RouteMatch(prefix="/")


def _not_found() -> Any:
    action = rc.DirectResponseAction(status=404, body=base_pb2.DataSource(inline_string=NOT_FOUND))
    return rc.Route(name="default backend", match=rc.RouteMatch(prefix="/"), direct_response=action)


def _forwarded() -> list[Any]:
    """In order: the originals are saved before they are overwritten. The listener sets X-Forwarded-Proto and -Port."""
    client = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"
    return [
        _header("x-original-forwarded-for", "%REQ(x-forwarded-for)%"),
        _header("x-original-forwarded-host", "%REQ(x-forwarded-host)%"),
        _header("x-forwarded-for", client),
        _header("x-real-ip", client),
        _header("x-forwarded-host", "%REQ(:authority)%"),
        _header("x-forwarded-scheme", "%REQ(x-forwarded-proto)%"),
        _header("x-scheme", "%REQ(x-forwarded-proto)%"),
    ]


def _header(name: str, value: str) -> Any:
    header = base_pb2.HeaderValue(key=name, value=value)
    return base_pb2.HeaderValueOption(header=header, append_action=_OVERWRITE)
