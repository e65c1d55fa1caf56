"""One container of a pod: command, environment, files, probes, and what keeps it from starting.

Rules:

1. ``$(VAR)`` in command, args and env is replaced by earlier variables; ``$$`` is ``$``; an unknown name stays as it
   is (core/v1 Container.command).
2. A ConfigMap, Secret or key that is missing and not optional keeps the pod waiting: CreateContainerConfigError.
3. A volume kind that is not mounted is a finding (PW6020), never silence.

Not here: variables for Services (``enableServiceLinks``); programs here find Services by DNS.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Mapping
from math import ceil

import msgspec

from podwire.base import FieldPath, Finding, Origin, Ref
from podwire.compile.containers_confinement import check_non_root, compile_confinement, unverified_root
from podwire.compile.containers_life import compile_life, user_of
from podwire.compile.images import OWN_PLANES, decide_work, find_run, repository_of
from podwire.compile.pod_fields import container_findings
from podwire.compile.probes import compile_probe, probe_ports
from podwire.kube import ConfigMap, PersistentVolume, Pod, Secret
from podwire.kube.pods import Container as KubeContainer
from podwire.kube.pods import EnvVar, KeySelector, ObjectFieldSelector, ResourceFieldSelector
from podwire.kube.quantity import parse_quantity
from podwire.plan import node as plan
from podwire.snapshot import ImageRule

_VARIABLE = re.compile(r"\$(?:\$|\(([^()]*)\))")
_INDEXED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]\Z")


class Surroundings(msgspec.Struct, frozen=True):
    """What a container may refer to. ``addresses`` is empty while the pod has none."""

    pod: Pod
    config_maps: Mapping[str, ConfigMap]
    secrets: Mapping[str, Secret]
    addresses: tuple[str, ...]
    host_addresses: tuple[str, ...]
    rules: tuple[ImageRule, ...]
    ports: tuple[plan.StandInPort, ...] = ()
    claims: Mapping[str, PersistentVolume | None] = {}
    """The volume of each claim by the claim's name; None while it is not bound."""


class Problem(msgspec.Struct, frozen=True):
    """Why a container cannot start: the finding, and the container's waiting message."""

    container: str
    finding: Finding

    @classmethod
    def of(cls, ref: Ref, container: str, path: str, missing: "Missing") -> "Problem":
        """From what is missing at ``path``."""
        fix = "create it, or mark the reference optional"
        return cls(container, Finding("PW6022", "error", ref, FieldPath(path), str(missing), fix))

    @property
    def message(self) -> str:
        """As the kubelet says it."""
        return self.finding.message


class Missing(Exception):
    """Something a container refers to is not there (rule 2)."""


def compile_container(
    container: KubeContainer, path: str, around: Surroundings
) -> tuple[plan.Container, tuple[Problem, ...], tuple[Finding, ...]]:
    """The unit, what keeps it waiting, and findings about what is not as written."""
    ref = around.pod.ref
    problems: list[Problem] = []
    env: dict[str, str] = {}
    try:
        env = compile_env(container, around)
    except Missing as missing:
        problems.append(Problem.of(ref, container.name, f"{path}.env", missing))
    extra = (*around.ports, *(plan.StandInPort(number) for number in probe_ports(container)))
    work = decide_work(
        container,
        command=tuple(expand(word, env) for word in container.command),
        args=tuple(expand(word, env) for word in container.args),
        rules=around.rules,
        extra_ports=extra,
    )
    findings = list(container_findings(around.pod, container, path))
    confined = compile_confinement(container, around.pod, path, findings)
    is_own = repository_of(container.image) in OWN_PLANES
    life = compile_life(container, around.pod, path, findings)
    run = find_run(container.image, around.rules)
    user = life.user
    if run is not None:
        env = dict(run.env) | env
        user = user_of(user, run.user)
    problems.extend(
        Problem.of(ref, container.name, f"{path}.securityContext.runAsNonRoot", Missing(why))
        for why in check_non_root(container, around.pod, user, work=work, own_root=run is not None)
    )
    if unverified_root(container, around.pod, user, work=work, own_root=run is not None):
        where = FieldPath(f"{path}.securityContext.runAsNonRoot")
        message = "runAsNonRoot: the user of the image is not known, and the command mapped to it runs as root"
        findings.append(Finding("PW6024", "warning", ref, where, message, "set runAsUser"))
    unit = plan.Container(
        origin=Origin(ref, FieldPath(path)),
        name=container.name,
        image=container.image,
        work=work,
        env=tuple(env.items()),
        readiness=None if is_own else compile_probe(container, container.readiness_probe, ref, path, findings),
        liveness=None if is_own else compile_probe(container, container.liveness_probe, ref, path, findings),
        startup=None if is_own else compile_probe(container, container.startup_probe, ref, path, findings),
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        post_start=life.post_start,
        pre_stop=life.pre_stop,
        restart_policy=life.restart_policy,
        restart_rules=life.restart_rules,
        message_path="" if is_own else container.termination_message_path,
        message_from_logs=container.termination_message_policy == "FallbackToLogsOnError",
        user=user,
        capabilities=confined.capabilities,
        read_only_root=confined.read_only_root,
        no_new_privileges=confined.no_new_privileges,
        stop_signal=(container.lifecycle or {}).get("stopSignal") or "",
    )
    return unit, tuple(problems), tuple(findings)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Rule 1."""

    def replace(found: re.Match[str]) -> str:
        name = found.group(1)
        return "$" if name is None else variables.get(name, found.group(0))

    return _VARIABLE.sub(replace, text) if "$" in text else text


def compile_env(container: KubeContainer, around: Surroundings) -> dict[str, str]:
    """Variables in order, later ones of the same name winning. Raises :class:`Missing`."""
    env: dict[str, str] = {}
    for source in container.env_from:
        if source.config_map_ref is not None:
            chosen = source.config_map_ref
            env.update(_prefixed(source.prefix, config_data(around, chosen.name, optional=chosen.optional)))
        if source.secret_ref is not None:
            chosen = source.secret_ref
            env.update(_prefixed(source.prefix, secret_data(around, chosen.name, optional=chosen.optional)))
    for variable in container.env:
        value = _value(variable, container, around, env)
        if value is not None:
            env[variable.name] = value
    return env


def _prefixed(prefix: str, data: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        yield prefix + key, value.decode(errors="replace")


def _value(variable: EnvVar, container: KubeContainer, around: Surroundings, env: Mapping[str, str]) -> str | None:
    source = variable.value_from
    if source is None:
        return expand(variable.value, env)
    if source.field_ref is not None:
        return read_field(source.field_ref, around)
    if source.resource_field_ref is not None:
        return read_resource(source.resource_field_ref, container, around.pod)
    if source.config_map_key_ref is not None:
        return _key(source.config_map_key_ref, around, "ConfigMap")
    if source.secret_key_ref is not None:
        return _key(source.secret_key_ref, around, "Secret")
    raise Missing(f"env {variable.name}: this valueFrom is not supported")


def _key(selector: KeySelector, around: Surroundings, kind: str) -> str | None:
    read = config_data if kind == "ConfigMap" else secret_data
    data = read(around, selector.name, optional=selector.optional)
    if selector.key in data:
        return data[selector.key].decode(errors="replace")
    if selector.optional:
        return None
    raise Missing(f"couldn't find key {selector.key} in {kind} {around.pod.metadata.namespace}/{selector.name}")


def config_data(around: Surroundings, name: str, *, optional: bool | None) -> Mapping[str, bytes]:
    """All keys of a ConfigMap. Raises :class:`Missing`."""
    found = around.config_maps.get(f"{around.pod.metadata.namespace}/{name}")
    if found is None:
        if optional:
            return {}
        raise Missing(f'configmap "{name}" not found')
    data = {key: text.encode() for key, text in found.data.items()}
    return data | {key: _decode(text, "configmap", name) for key, text in found.binary_data.items()}


def secret_data(around: Surroundings, name: str, *, optional: bool | None) -> Mapping[str, bytes]:
    """All keys of a Secret. Raises :class:`Missing`."""
    found = around.secrets.get(f"{around.pod.metadata.namespace}/{name}")
    if found is None:
        if optional:
            return {}
        raise Missing(f'secret "{name}" not found')
    return {key: _decode(text, "secret", name) for key, text in found.data.items()}


def _decode(text: str, kind: str, name: str) -> bytes:
    try:
        return b64decode(text)
    except (Base64Error, ValueError) as error:
        raise Missing(f'{kind} "{name}" holds data that is not base64') from error


def read_field(selector: ObjectFieldSelector, around: Surroundings) -> str:
    """A field of the pod, as the downward API gives it. Raises :class:`Missing` for other fields."""
    pod, path = around.pod, selector.field_path
    meta = pod.metadata
    indexed = _INDEXED.match(path)
    if indexed:
        table = meta.labels if indexed.group(1) == "labels" else meta.annotations
        return table.get(indexed.group(2), "")
    plain = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _lines(meta.labels),
        "metadata.annotations": _lines(meta.annotations),
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name or "default",
        "status.hostIP": next(iter(around.host_addresses), ""),
        "status.hostIPs": ",".join(around.host_addresses),
        "status.podIP": next(iter(around.addresses), ""),
        "status.podIPs": ",".join(around.addresses),
    }
    if path not in plain:
        raise Missing(f"fieldRef {path} is not a field the downward API has")
    return plain[path]


def _lines(table: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={msgspec.json.encode(value).decode()}" for key, value in sorted(table.items()))


def needs_address(pod: Pod) -> bool:
    """Whether a container refers to the pod's own address, which then must be known before it starts."""
    containers: Iterable[KubeContainer] = (*pod.spec.init_containers, *pod.spec.containers)
    return any(
        v.value_from is not None and v.value_from.field_ref is not None and "podIP" in v.value_from.field_ref.field_path
        for c in containers
        for v in c.env
    )


def read_resource(selector: ResourceFieldSelector, container: KubeContainer, pod: Pod) -> str:
    """``limits.cpu`` and the like in units of ``divisor``, rounded up; 0 when not set."""
    chosen = container
    if selector.container_name:
        named = (c for c in (*pod.spec.containers, *pod.spec.init_containers) if c.name == selector.container_name)
        chosen = next(named, container)
    section, _, name = selector.resource.partition(".")
    table = chosen.resources.limits if section == "limits" else chosen.resources.requests
    try:
        amount = parse_quantity(table.get(name, 0))
        divisor = parse_quantity(selector.divisor or 1) or parse_quantity(1)
    except ValueError as error:
        raise Missing(f"resourceFieldRef {selector.resource}: {error}") from error
    return str(ceil(amount / divisor))
