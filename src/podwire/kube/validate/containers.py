"""Containers of a pod: names, ports, environment, mounts, probes, resources.

Spec: k8s:pkg/apis/core/validation/validation.go validateContainers and validateInitContainers.
"""

from collections.abc import Container as Contains
from decimal import Decimal
from typing import Any

from podwire.kube.names import (
    config_key_problems,
    dns_label_problems,
    env_name_problems,
    port_name_problems,
    port_number_problems,
)
from podwire.kube.quantity import parse_quantity
from podwire.kube.validate.ephemeral import check_ephemeral
from podwire.kube.validate.errors import (
    Errors,
    duplicate,
    each_invalid,
    forbidden,
    invalid,
    non_negative,
    not_found,
    not_supported,
    one_of,
    required,
)
from podwire.kube.validate.service import PROTOCOLS, check_number_or_name

Obj = dict[str, Any]

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def check_containers(spec: Obj, path: str, *, volumes: Contains[str]) -> Errors:
    """All containers of a pod spec; names are unique over the three lists."""
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    names: set[str] = set()
    host_ports: set[tuple[str, str, int]] = set()
    host_network = bool(spec.get("hostNetwork"))
    lasting = {c.get("name") for key in ("containers", "initContainers") for c in spec.get(key) or ()}
    for key in ("containers", "initContainers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(key) or ()):
            where = f"{path}.{key}[{index}]"
            yield from _check_name(container.get("name") or "", f"{where}.name", names)
            yield from _check_container(container, where, volumes)
            yield from _check_ports(container.get("ports") or [], f"{where}.ports", host_network=host_network)
            if key == "containers" or container.get("restartPolicy") == "Always":
                yield from _check_host_ports(container.get("ports") or [], f"{where}.ports", host_ports)
            if key == "initContainers":
                yield from _check_init(container, where)
            elif key == "ephemeralContainers":
                yield from check_ephemeral(container, where, lasting)


def _check_name(name: str, path: str, names: set[str]) -> Errors:
    if not name:
        yield required(path)
    else:
        yield from each_invalid(path, name, dns_label_problems(name))
        if name in names:
            yield duplicate(path, name)
    names.add(name)


def _check_container(container: Obj, path: str, volumes: Contains[str]) -> Errors:
    image = container.get("image") or ""
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy") or "", PULL_POLICIES)
    yield from one_of(
        f"{path}.terminationMessagePolicy",
        container.get("terminationMessagePolicy") or "",
        ("File", "FallbackToLogsOnError"),
    )
    for index, variable in enumerate(container.get("env") or ()):
        yield from _check_variable(variable, f"{path}.env[{index}]")
    for index, source in enumerate(container.get("envFrom") or ()):
        yield from _check_env_from(source, f"{path}.envFrom[{index}]")
    yield from _check_mounts(container.get("volumeMounts") or [], f"{path}.volumeMounts", volumes)
    for key in _PROBES:
        if container.get(key):
            yield from _check_probe(container[key], f"{path}.{key}", once=key != "readinessProbe")
    yield from _check_resources(container.get("resources") or {}, f"{path}.resources")


def _check_init(container: Obj, path: str) -> Errors:
    """Only sidecars (restartPolicy Always) are probed."""
    policy = container.get("restartPolicy")
    if policy is not None and policy != "Always":
        yield not_supported(f"{path}.restartPolicy", policy, ("Always",))
    if policy == "Always":
        return
    for key in (*_PROBES, "lifecycle"):
        if container.get(key):
            yield forbidden(f"{path}.{key}", "may not be set for init containers without restartPolicy=Always")


def _check_ports(ports: list[Obj], path: str, *, host_network: bool) -> Errors:
    names: set[str] = set()
    for index, port in enumerate(ports):
        where, name = f"{path}[{index}]", port.get("name") or ""
        if name:
            yield from each_invalid(f"{where}.name", name, port_name_problems(name))
            if name in names:
                yield duplicate(f"{where}.name", name)
            names.add(name)
        number, host_port = port.get("containerPort") or 0, port.get("hostPort") or 0
        if not number:
            yield required(f"{where}.containerPort")
        else:
            yield from each_invalid(f"{where}.containerPort", number, port_number_problems(number))
        if host_port:
            yield from each_invalid(f"{where}.hostPort", host_port, port_number_problems(host_port))
        if host_network and host_port != number:
            yield invalid(f"{where}.containerPort", number, "must match `hostPort` when `hostNetwork` is true")
        yield from one_of(f"{where}.protocol", port.get("protocol") or "", PROTOCOLS)


def _check_host_ports(ports: list[Obj], path: str, taken: set[tuple[str, str, int]]) -> Errors:
    for index, port in enumerate(ports):
        key = (port.get("protocol") or "", port.get("hostIP") or "", port.get("hostPort") or 0)
        if key[2] and key in taken:
            yield duplicate(f"{path}[{index}].hostPort", f"{key[0]}/{key[1]}/{key[2]}")
        taken.add(key)


def _check_variable(variable: Obj, path: str) -> Errors:
    name, source = variable.get("name") or "", variable.get("valueFrom")
    if not name:
        yield required(f"{path}.name")
    else:
        yield from each_invalid(f"{path}.name", name, env_name_problems(name))
    if source is None:
        return
    given = [key for key, value in source.items() if value]
    if not given:
        detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        yield invalid(f"{path}.valueFrom", "", detail)
    elif variable.get("value"):
        yield invalid(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield invalid(f"{path}.valueFrom", "", "may not have more than one field specified at a time")
    for key in ("configMapKeyRef", "secretKeyRef"):
        reference = source.get(key)
        if reference:
            yield from _check_key(reference.get("key") or "", f"{path}.valueFrom.{key}.key")
    reference = source.get("fieldRef")
    if reference and not reference.get("fieldPath"):
        yield required(f"{path}.valueFrom.fieldRef.fieldPath")


def _check_key(key: str, path: str) -> Errors:
    if not key:
        yield required(path)
    else:
        yield from each_invalid(path, key, config_key_problems(key))


def _check_env_from(source: Obj, path: str) -> Errors:
    given = [key for key in ("configMapRef", "secretRef") if source.get(key)]
    if not given:
        yield invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(given) > 1:
        yield invalid(path, "", "may not have more than one field specified at a time")
    for key in given:
        if not source[key].get("name"):
            yield required(f"{path}.{key}.name")
    if source.get("prefix"):
        yield from each_invalid(f"{path}.prefix", source["prefix"], env_name_problems(source["prefix"]))


def _check_mounts(mounts: list[Obj], path: str, volumes: Contains[str]) -> Errors:
    paths: set[str] = set()
    for index, mount in enumerate(mounts):
        where, name, target = f"{path}[{index}]", mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield required(f"{where}.name")
        elif name not in volumes:
            yield not_found(f"{where}.name", name)
        if not target:
            yield required(f"{where}.mountPath")
        elif target in paths:
            yield invalid(f"{where}.mountPath", target, "must be unique")
        paths.add(target)
        sub_path = mount.get("subPath") or ""
        if sub_path.startswith("/"):
            yield invalid(f"{where}.subPath", sub_path, "must be a relative path")
        elif ".." in sub_path.split("/"):
            yield invalid(f"{where}.subPath", sub_path, "must not contain '..'")


def _check_probe(probe: Obj, path: str, *, once: bool) -> Errors:
    given = [key for key in _HANDLERS if probe.get(key) is not None]
    if not given:
        yield required(path, "must specify a handler type")
    for key in given[1:]:
        yield forbidden(f"{path}.{key}", "may not specify more than 1 handler type")
    for key in given[:1]:
        yield from _check_handler(key, probe[key], f"{path}.{key}")
    for key in _PROBE_NUMBERS:
        yield from non_negative(f"{path}.{key}", probe.get(key))
    if once and probe.get("successThreshold", 1) != 1:
        yield invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _check_handler(key: str, handler: Obj, path: str) -> Errors:
    match key:
        case "exec":
            if not handler.get("command"):
                yield required(f"{path}.command")
        case "grpc":
            yield from each_invalid(
                f"{path}.port", handler.get("port", 0), port_number_problems(handler.get("port", 0))
            )
        case "httpGet":
            if not handler.get("path"):
                yield required(f"{path}.path")
            yield from check_number_or_name(f"{path}.port", handler.get("port", 0))
            yield from one_of(f"{path}.scheme", handler.get("scheme") or "", ("HTTP", "HTTPS"))
        case _:
            yield from check_number_or_name(f"{path}.port", handler.get("port", 0))


def _check_resources(resources: Obj, path: str) -> Errors:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for key, values in (("limits", limits), ("requests", requests)):
        for name, value in values.items():
            amount = _amount(value)
            if amount is not None and amount < 0:
                yield invalid(f"{path}.{key}[{name}]", str(value), "must be greater than or equal to 0")
    for name, value in requests.items():
        wanted, limit = _amount(value), _amount(limits.get(name))
        if wanted is not None and limit is not None and wanted > limit:
            detail = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid(f"{path}.requests", str(value), detail)


def _amount(value: str | int | float | None) -> Decimal | None:
    try:
        return None if value is None else parse_quantity(value)
    except ValueError:
        return None
