"""What one Ingress asks for by itself: its class, options, and paths by host. Nothing here looks at other objects
but IngressClasses.

Rules:

1. An Ingress is ours by annotation ``kubernetes.io/ingress.class: nginx``, else by an ``ingressClassName`` whose
   IngressClass names our controller, else by the default class. The class ``nginx`` needs no object.
2. Missing ``pathType`` and ``ImplementationSpecific`` are Prefix, as ingress-nginx takes them.
3. Of ingress-nginx's annotations only ``ssl-redirect`` and ``force-ssl-redirect`` act; every other is a finding.
4. A path that no normalised request path can match is a finding and no route.

Sources: Ingress v1 API; ingress-nginx ``store.go``, ``annotations/``.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from podwire.base import FieldPath, Finding, Origin, Ref
from podwire.kube import Ingress, IngressClass
from podwire.kube.networking import HTTPIngressPath, IngressBackend, IngressTLS
from podwire.plan.routes import PathType

ANNOTATION_PREFIX = "nginx.ingress.kubernetes.io/"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_CLASS_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"
CLASS_NAME = "nginx"
ANY_HOST = "*"

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_NEVER = re.compile(r"//|/\.\.?(/|$)|[?#\s\x00-\x1f\x7f]")
_REGEX = re.compile(r"[()\[\]|*+^$\\]")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Options(msgspec.Struct, frozen=True):
    """Annotations that act."""

    ssl_redirect: bool = True
    force_ssl_redirect: bool = False


class PathView(msgspec.Struct, frozen=True):
    """One path of one host, before it is merged with those of other Ingresses. ``backend_path`` is the field."""

    host: str
    path_type: PathType
    path: str
    backend: IngressBackend
    origin: Origin
    backend_path: FieldPath

    @property
    def stem(self) -> str:
        """What makes two paths of a type the same: ``/foo`` and ``/foo/`` are one prefix."""
        return self.path if self.path_type == "exact" else self.path.rstrip("/")


class IngressView(msgspec.Struct, frozen=True):
    """One Ingress of ours. ``hosts`` are those of its rules, ``*`` for none; ``default`` is spec.defaultBackend;
    ``services`` the keys of the Services it names."""

    ref: Ref
    hosts: tuple[str, ...]
    paths: tuple[PathView, ...]
    default: PathView | None
    services: tuple[str, ...]
    tls: tuple[IngressTLS, ...]
    options: Options
    findings: tuple[Finding, ...]


def is_ours(ingress: Ingress, classes: Mapping[str, IngressClass], controller: str) -> tuple[bool, tuple[Finding, ...]]:
    """Whether this controller serves ``ingress``, and what is odd about its class."""
    annotated = ingress.metadata.annotations.get(CLASS_ANNOTATION)
    if annotated is not None:
        return annotated == CLASS_NAME, ()
    name = ingress.spec.ingress_class_name
    if name is None:
        default = next((c for c in classes.values() if _is_default(c)), None)
        if default is None:
            return False, (_no_class(ingress.ref),)
        return default.spec.controller == controller, ()
    found = classes.get(name)
    if found is None and name != CLASS_NAME:
        return False, (_unknown_class(ingress.ref, name, classes),)
    return found is None or found.spec.controller == controller, ()


def view_ingress(ingress: Ingress) -> IngressView:
    """The Ingress, read."""
    findings: list[Finding] = []
    options = _options(ingress, findings)
    hosts: dict[str, None] = {}
    paths: list[PathView] = []
    for index, rule in enumerate(ingress.spec.rules):
        host = rule.host.lower() or ANY_HOST
        field = f"spec.rules[{index}]"
        if host != ANY_HOST and not _HOST.fullmatch(host):
            findings.append(_bad_host(ingress.ref, rule.host, FieldPath(f"{field}.host")))
            continue
        hosts[host] = None
        for number, path in enumerate(rule.http.paths if rule.http else ()):
            where = FieldPath(f"{field}.http.paths[{number}]")
            paths.extend(_view_path(ingress.ref, host, path, where=where, findings=findings))
    default = _default(ingress)
    backends = [path.backend.service for path in (*paths, *((default,) if default else ()))]
    return IngressView(
        ref=ingress.ref,
        hosts=tuple(hosts),
        paths=tuple(paths),
        default=default,
        services=tuple(f"{ingress.metadata.namespace}/{b.name}" for b in backends if b),
        tls=ingress.spec.tls,
        options=options,
        findings=tuple(findings),
    )


def _default(ingress: Ingress) -> PathView | None:
    backend = ingress.spec.default_backend
    if backend is None:
        return None
    where = FieldPath("spec.defaultBackend")
    return PathView(ANY_HOST, "prefix", "/", backend, Origin(ingress.ref, where), where)


def _view_path(
    ref: Ref, host: str, path: HTTPIngressPath, *, where: FieldPath, findings: list[Finding]
) -> Iterator[PathView]:
    text = path.path or "/"
    if not text.startswith("/") or _NEVER.search(text):
        findings.append(
            Finding(
                "PW3004",
                "error",
                ref,
                FieldPath(f"{where}.path"),
                f"no request has the path {text!r}: paths begin with / and are compared after // and dots are resolved",
                "write the path as a browser would send it, without query",
            )
        )
        return
    path_type: PathType = "exact" if path.path_type == "Exact" else "prefix"
    if _REGEX.search(text):
        findings.append(
            Finding(
                "PW3011",
                "warning",
                ref,
                FieldPath(f"{where}.path"),
                f"{text!r} looks like a regular expression and is compared literally",
                "use Prefix or Exact paths",
            )
        )
    yield PathView(host, path_type, text, path.backend, Origin(ref, where), FieldPath(f"{where}.backend"))


def _options(ingress: Ingress, findings: list[Finding]) -> Options:
    known = {"ssl-redirect": True, "force-ssl-redirect": False}
    for key, value in sorted(ingress.metadata.annotations.items()):
        if not key.startswith(ANNOTATION_PREFIX):
            continue
        name, where = key.removeprefix(ANNOTATION_PREFIX), FieldPath(f"metadata.annotations[{key}]")
        if name not in known:
            message = f"annotation {name} is accepted but not enforced: requests are routed as if it were absent"
            findings.append(
                Finding("PW3010", "warning", ingress.ref, where, message, "remove it, or do not rely on it")
            )
        elif value in _TRUE or value in _FALSE:
            known[name] = value in _TRUE
        else:
            message = f"{value!r} is neither true nor false; {str(known[name]).lower()} is used"
            findings.append(Finding("PW3012", "warning", ingress.ref, where, message, 'write "true" or "false"'))
    return Options(known["ssl-redirect"], known["force-ssl-redirect"])


def _is_default(value: IngressClass) -> bool:
    return value.metadata.annotations.get(DEFAULT_CLASS_ANNOTATION) == "true"


def _no_class(ref: Ref) -> Finding:
    message = "no ingressClassName, and no IngressClass is the default: nobody serves this Ingress"
    return Finding("PW3006", "warning", ref, FieldPath("spec"), message, f"set spec.ingressClassName: {CLASS_NAME}")


def _unknown_class(ref: Ref, name: str, classes: Mapping[str, IngressClass]) -> Finding:
    known = ", ".join(sorted({CLASS_NAME, *classes}))
    where = FieldPath("spec.ingressClassName")
    return Finding("PW3005", "warning", ref, where, f"there is no IngressClass {name!r}", f"use one of: {known}")


def _bad_host(ref: Ref, host: str, where: FieldPath) -> Finding:
    message = f"{host!r} is no host name: the rule is not served"
    return Finding("PW3013", "error", ref, where, message, "a DNS name, or *. and a DNS name, without port")
