"""Probes with their defaults applied and named ports resolved.

Source: core/v1 Probe; kubernetes ``pkg/probe``, ``pkg/kubelet/prober``.
"""

from collections.abc import Iterator

from podwire.base import FieldPath, Finding, Ref
from podwire.kube.pods import Container
from podwire.kube.pods import Probe as KubeProbe
from podwire.plan.node import Check, ExecCheck, GrpcCheck, HttpCheck, Probe, TcpCheck


def compile_probe(
    container: Container, probe: KubeProbe | None, ref: Ref, path: str, findings: list[Finding]
) -> Probe | None:
    """The probe, or None when there is none. A port name the container lacks is a finding; such a probe fails."""
    if probe is None:
        return None
    check = _check(container, probe, ref, path, findings)
    if check is None:
        return None
    return Probe(
        check=check,
        initial_delay_seconds=probe.initial_delay_seconds,
        timeout_seconds=probe.timeout_seconds or 1,
        period_seconds=probe.period_seconds or 10,
        success_threshold=probe.success_threshold or 1,
        failure_threshold=probe.failure_threshold or 3,
        grace_seconds=probe.termination_grace_period_seconds,
    )


def _check(container: Container, probe: KubeProbe, ref: Ref, path: str, findings: list[Finding]) -> Check | None:
    if probe.http_get is not None:
        action = probe.http_get
        return HttpCheck(
            port=_port(container, action.port, ref, path, findings),
            path=action.path or "/",
            scheme=action.scheme or "HTTP",
            host=action.host,
            headers=tuple((h.name, h.value) for h in action.http_headers),
        )
    if probe.tcp_socket is not None:
        return TcpCheck(_port(container, probe.tcp_socket.port, ref, path, findings), probe.tcp_socket.host)
    if probe.exec is not None:
        return ExecCheck(probe.exec.command)
    if probe.grpc is not None:
        return GrpcCheck(probe.grpc.port, probe.grpc.service or "")
    return None


def resolve_port(container: Container, port: int | str) -> int | None:
    """A number, or the container's port of that name; None when it has none."""
    if isinstance(port, int):
        return port
    named = next((p.container_port for p in container.ports if p.name == port), None)
    return named if named is not None else (int(port) if port.isdigit() else None)


def _port(container: Container, port: int | str, ref: Ref, path: str, findings: list[Finding]) -> int:
    number = resolve_port(container, port)
    if number is None:
        message = f"probe of container {container.name} names port {port!r}, which the container does not have"
        findings.append(Finding("PW6023", "error", ref, FieldPath(path), message, "name one of its ports"))
    return number or 0


def probe_ports(container: Container) -> Iterator[int]:
    """TCP ports that probes of the container connect to in the pod."""
    for probe in (container.readiness_probe, container.liveness_probe, container.startup_probe):
        if probe is None:
            continue
        for action in (probe.http_get, probe.tcp_socket):
            number = resolve_port(container, action.port) if action and not action.host else None
            if number:
                yield number
        if probe.grpc is not None:
            yield probe.grpc.port
