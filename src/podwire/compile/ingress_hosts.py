"""Merges the paths of several Ingresses into one virtual host.

Rules:

1. Ingresses are in order of age; equal ages by descending ``namespace/name``, as ingress-nginx sorts. Of the same
   path and type the oldest wins, across namespaces; the loser is a finding.
2. Exact before Prefix, longer before shorter: the first that matches is the most specific.
3. An Ingress with rules and a ``defaultBackend`` gives ``/`` to the hosts it is the first to name, when nobody has one.
4. Plain requests are redirected when the host has TLS and the path's own Ingress does not switch that off, or when it
   forces it; never ACME challenges.

Sources: Ingress v1 API; ingress-nginx ``controller.go`` (getBackendServers), ``store.go`` (sortIngressSlice).
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from podwire.base import Finding
from podwire.compile.ingress_backends import Resolution, Target
from podwire.compile.ingress_views import IngressView as View
from podwire.compile.ingress_views import Options, PathView
from podwire.kube import Ingress
from podwire.plan import Route, VirtualHost

ACME_PATH = "/.well-known/acme-challenge"


class Part(msgspec.Struct, frozen=True):
    """An Ingress with its backends resolved."""

    view: View
    resolution: Resolution


class _Candidate(msgspec.Struct, frozen=True):
    path: PathView
    target: Target
    options: Options


def sort_ingresses(ingresses: Iterable[Ingress]) -> tuple[Ingress, ...]:
    """Oldest first; without a time, youngest."""
    by_name = sorted(ingresses, key=lambda i: i.key, reverse=True)
    return tuple(sorted(by_name, key=lambda i: i.metadata.creation_timestamp or "9999"))


def compile_host(
    host: str, parts: Sequence[Part], *, certificate: str, has_tls: bool
) -> tuple[VirtualHost, tuple[Finding, ...]]:
    """The virtual host of ``parts``, oldest first, and the paths that lost."""
    taken: dict[tuple[str, str], _Candidate] = {}
    findings: list[Finding] = []
    for candidate in _candidates(host, parts):
        path = candidate.path
        known = taken.setdefault((path.path_type, path.stem), candidate)
        if known is not candidate:
            findings.append(_lost(host, path, known.path))
    ordered = sorted(taken.values(), key=lambda c: (c.path.path_type != "exact", -len(c.path.stem), c.path.stem))
    routes = tuple(_route(c, has_tls) for c in _with_default(host, parts, ordered))
    return VirtualHost(host, routes, certificate), tuple(findings)


def _candidates(host: str, parts: Sequence[Part]) -> Iterator[_Candidate]:
    for part in parts:
        for path, target in zip(part.view.paths, part.resolution.targets, strict=True):
            if path.host == host:
                yield _Candidate(path, target, part.view.options)


def _with_default(host: str, parts: Sequence[Part], ordered: list[_Candidate]) -> list[_Candidate]:
    first = parts[0]
    has_root = any(c.path.path_type == "prefix" and not c.path.stem for c in ordered)
    if has_root or first.view.default is None:
        return ordered
    return [*ordered, _Candidate(first.view.default, first.resolution.default, first.view.options)]


def _route(candidate: _Candidate, has_tls: bool) -> Route:
    path, options = candidate.path, candidate.options
    redirect = options.force_ssl_redirect or (options.ssl_redirect and has_tls)
    return Route(
        origin=path.origin,
        path_type=path.path_type,
        path=path.path,
        cluster=candidate.target.cluster,
        status=0 if candidate.target.cluster else 503,
        redirect_https=redirect and not path.path.startswith(ACME_PATH),
    )


def _lost(host: str, path: PathView, winner: PathView) -> Finding:
    return Finding(
        "PW3002",
        "warning",
        path.origin.ref,
        path.origin.path,
        f"{host}{path.path} is taken by {winner.origin}, which is older: this path is ignored",
        "use another host or path, or remove one of the two",
    )
