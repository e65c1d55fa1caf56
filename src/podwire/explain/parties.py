"""What a person types for FROM and TO, as parties and targets; what cannot be understood is a message, not a guess."""

from urllib.parse import urlsplit

from podwire.base import Ref
from podwire.explain.steps import Party, Target
from podwire.explain.world import World
from podwire.kube import Deployment, KubeObject, Pod, ReplicaSet, Service, StatefulSet

DEFAULT_PORTS = {"http": 80, "https": 443}
WORKLOADS: dict[str, type[KubeObject]] = {
    "deploy": Deployment,
    "deployment": Deployment,
    "sts": StatefulSet,
    "statefulset": StatefulSet,
    "rs": ReplicaSet,
    "replicaset": ReplicaSet,
    "svc": Service,
    "service": Service,
}


class Unclear(ValueError):
    """What was typed names nothing; the message says what would."""


def parse_source(world: World, text: str) -> tuple[Party, tuple[str, ...]]:
    """``host``, ``node/NAME``, ``ns/pod``, ``ns/deploy/name`` (any of its pods) or ``ns/name``, with assumptions."""
    if text == "host":
        return world.host_party(), ()
    parts = text.split("/")
    if len(parts) == 1:
        parts = ["default", *parts]
    if len(parts) == 3:
        kind = WORKLOADS.get(parts[1].lower())
        if kind is None and parts[1].lower() not in ("pod", "po"):
            raise Unclear(f"{parts[1]!r} is not a kind a request can come from: use pod, deploy, sts, rs or svc")
        return _any_pod(world, parts[0], parts[2]) if kind else (_pod(world, parts[0], parts[2]), ())
    if len(parts) != 2:
        raise Unclear(f"{text!r} is no source: write host, NAMESPACE/POD or NAMESPACE/deploy/NAME")
    if world.snapshot.get(Pod, *parts) is not None:
        return _pod(world, *parts), ()
    machine = world.node_party(parts[1]) if parts[0] == "node" else None
    if machine is not None:
        return machine, ()
    return _any_pod(world, *parts)


def _pod(world: World, namespace: str, name: str) -> Party:
    party = world.pod_party(Ref("Pod", namespace, name))
    if party is None:
        exists = world.snapshot.get(Pod, namespace, name) is not None
        raise Unclear(f"pod {namespace}/{name} {'has no address yet' if exists else 'does not exist'}")
    return party


def _any_pod(world: World, namespace: str, name: str) -> tuple[Party, tuple[str, ...]]:
    pods = sorted(
        p.pod.name
        for p in world.plans.policy.pods.values()
        if p.pod.namespace == namespace and (p.pod.name.startswith(name + "-") or p.pod.name == name)
    )
    if not pods:
        raise Unclear(f"nothing named {namespace}/{name} has a running pod")
    more = f"source pod {pods[0]} (any of {len(pods)})"
    return _pod(world, namespace, pods[0]), (more,) if len(pods) > 1 else ()


def parse_target(world: World, text: str) -> Target:
    """A URL, ``udp://host:port``, ``host:port``, ``ns/pod:port``, ``node/name:port``, or a Service's own address:
    ``ns/svc/name:port`` (cluster IP), ``ns/lb/name:port`` (load balancer)."""
    if "://" not in text:
        return _plain_target(world, text)
    url = urlsplit(text)
    try:
        port = url.port
    except ValueError as error:
        raise Unclear(f"{text!r}: {error}") from error
    if not url.hostname:
        raise Unclear(f"{text!r} has no host")
    match url.scheme:
        case "http" | "https":
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            return Target(url.hostname, port or DEFAULT_PORTS[url.scheme], "TCP", url.scheme, path)
        case "tcp" | "udp" | "sctp":
            if port is None:
                raise Unclear(f"{text!r} needs a port: {url.scheme}://{url.hostname}:80")
            return Target(url.hostname, port, url.scheme.upper())  # type: ignore[arg-type]
        case other:
            raise Unclear(f"scheme {other!r} is not http, https, tcp, udp or sctp")


def _plain_target(world: World, text: str) -> Target:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise Unclear(f"{text!r} is no target: write http://NAME:PORT/PATH, NAME:PORT or NAMESPACE/POD:PORT")
    if "/" in host:
        host = _place(world, host.split("/"))
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Unclear(f"{text!r}: write an IPv6 address in brackets: [{host}]:{port}")
    return Target(host, int(port))


def _place(world: World, parts: list[str]) -> str:
    """The address of ``node/NAME``, ``NAMESPACE/POD``, ``NAMESPACE/svc/NAME`` or ``NAMESPACE/lb/NAME``."""
    match parts:
        case [first, name] if first == "node" and (machine := world.node_party(name)) is not None:
            return machine.addresses[0]
        case [namespace, name]:
            return _pod(world, namespace, name).addresses[0]
        case [namespace, "svc" | "lb" as kind, name]:
            service = Ref("Service", namespace, name)
            units = [u for u in world.plans.services.ports.values() if u.service == service]
            found = [a for u in units for a in (u.load_balancer_ips if kind == "lb" else u.cluster_ips)]
            if found:
                return found[0]
            raise Unclear(f"Service {namespace}/{name} has no {'load balancer' if kind == 'lb' else 'cluster'} address")
        case _:
            raise Unclear(f"{'/'.join(parts)!r} is no place: write NAMESPACE/POD, node/NAME or NAMESPACE/svc/NAME")
