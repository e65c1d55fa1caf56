"""The Corefile of ConfigMap ``kube-system/coredns`` as configuration, with its findings.

Rules:

1. No ConfigMap: kubeadm's Corefile.
2. A Corefile that cannot be used is an error (PW1209) on the ConfigMap, and the configuration before it stays; after
   a start that is kubeadm's. Who looks at a running cluster from outside has it from the fact of the DNS plane.
3. The environment is that of the containers of Deployment ``kube-system/coredns``; other keys of the ConfigMap are
   the files that ``import``, ``hosts`` and ``forward`` name, and so are files of Secrets and ConfigMaps that the
   Deployment mounts, by their whole path.
"""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import suppress

import msgspec

from podwire.base import Finding, Origin, Ref
from podwire.compile.context import Context
from podwire.compile.corefile import CorefileError
from podwire.compile.corefile_blocks import CONFIG_MAP, COREFILE_PATH, Ignored, compile_corefile, default_corefile
from podwire.kube import ConfigMap, Deployment, Secret
from podwire.kube.pods import Volume
from podwire.plan.dnsconfig import CONFIG_FACT, DnsConfig, Forward, zone_holds
from podwire.snapshot import Snapshot

SYSTEM_NAMESPACE = "kube-system"
KEY = "Corefile"


class ConfigPart(msgspec.Struct, frozen=True):
    """The configuration in force, and what is to be said about the one that is wanted."""

    config: DnsConfig
    findings: tuple[Finding, ...]


def compile_dns_config(context: Context) -> ConfigPart:
    """The configuration in force."""
    snapshot, memo = context.snapshot, context.memo
    settings = snapshot.settings
    value = snapshot.get(ConfigMap, SYSTEM_NAMESPACE, CONFIG_MAP)
    deployment = snapshot.get(Deployment, SYSTEM_NAMESPACE, CONFIG_MAP)
    env = _environment(deployment)
    mounted = mounted_files(snapshot, deployment)
    inputs = (value, tuple(sorted(env.items())), mounted, settings.domain, settings.upstreams)
    last: ConfigPart | None = memo.last("corefile")

    def make() -> ConfigPart:
        try:
            return _read(value, env, dict(mounted), domain=settings.domain, upstreams=settings.upstreams)
        except CorefileError as error:
            assert value is not None, "kubeadm's Corefile is good"
            config = last.config if last else _running_config(snapshot)
            kept = config or _read(None, {}, {}, domain=settings.domain, upstreams=settings.upstreams).config
            return ConfigPart(kept, (_refusal(value, error, first=config is None),))

    return memo.unit("corefile", inputs, make)


def _running_config(snapshot: Snapshot) -> DnsConfig | None:
    """What the DNS plane says is in force; None when it says nothing."""
    fact = snapshot.facts.planes.get("dns")
    text = fact.applied.get(CONFIG_FACT, "") if fact is not None else ""
    try:
        return msgspec.json.decode(text, type=DnsConfig) if text else None
    except msgspec.MsgspecError:  # of another version
        return None


def _environment(deployment: Deployment | None) -> Mapping[str, str]:
    if deployment is None:
        return {}
    containers = deployment.spec.template.spec.containers
    return {v.name: v.value for c in containers for v in c.env if v.value_from is None}


def mounted_files(snapshot: Snapshot, deployment: Deployment | None) -> tuple[tuple[str, str], ...]:
    """Text of every file of a Secret or ConfigMap that the Deployment mounts, by path; sorted."""
    if deployment is None:
        return ()
    spec = deployment.spec.template.spec
    mounts = [(m.name, m.mount_path.rstrip("/"), m.sub_path) for c in spec.containers for m in c.volume_mounts]
    found: dict[str, str] = {}
    for volume in spec.volumes:
        texts = _texts(snapshot, volume)
        for name, path, part in mounts:
            if name == volume.name:
                found.update({path if part else f"{path}/{key}": text for key, text in texts if part in ("", key)})
    return tuple(sorted(found.items()))


def _texts(snapshot: Snapshot, volume: Volume) -> Iterator[tuple[str, str]]:
    if volume.secret is not None:
        secret = snapshot.get(Secret, SYSTEM_NAMESPACE, volume.secret.secret_name)
        for key, data in (secret.data if secret is not None else {}).items():
            with suppress(ValueError):  # no text, so no PEM either
                yield key, b64decode(data, validate=True).decode()
    if volume.config_map is not None:
        value = snapshot.get(ConfigMap, SYSTEM_NAMESPACE, volume.config_map.name)
        yield from (value.data if value is not None else {}).items()


def _read(
    value: ConfigMap | None,
    env: Mapping[str, str],
    mounted: Mapping[str, str],
    *,
    domain: str,
    upstreams: tuple[str, ...],
) -> ConfigPart:
    data = value.data if value is not None else {KEY: default_corefile(domain)}
    origin = Origin(value.ref if value is not None else Ref("Settings", "", "dns"), COREFILE_PATH)
    files = {**mounted, **{key: text for key, text in data.items() if key != KEY}}
    if KEY not in data:
        raise CorefileError("the ConfigMap has no key Corefile", line=1, fix="name the key Corefile")
    found = compile_corefile(data[KEY], origin, resolv_conf=upstreams, env=env, files=files)
    findings = [_without_effect(origin.ref, item) for item in found.ignored]
    if value is not None:
        findings += _warnings(origin.ref, found.config)
    return ConfigPart(found.config, tuple(findings))


def _refusal(value: ConfigMap, error: CorefileError, *, first: bool) -> Finding:
    kept = "kubeadm's Corefile is used instead" if first else "the configuration before it stays in force"
    return Finding("PW1209", "error", value.ref, COREFILE_PATH, f"{error}; {kept}", error.fix)


def _without_effect(ref: Ref, item: Ignored) -> Finding:
    message = f"line {item.line}: {item.text} has no effect here: {item.why}"
    return Finding("PW1211", "warning", ref, COREFILE_PATH, message, "do not rely on it")


def _warnings(ref: Ref, config: DnsConfig) -> Iterator[Finding]:
    if config.kubernetes() is None:
        message = "no block has the plugin kubernetes: no name of the cluster is answered"
        yield Finding("PW1212", "warning", ref, COREFILE_PATH, message, "add: kubernetes cluster.local")


def upstreams_of(config: DnsConfig, domain: str) -> tuple[str, ...]:
    """Whom the block that serves the cluster's zone asks about everything else."""
    holders = [(len(z), b) for b in config.blocks for z in b.zones if zone_holds(z, domain)]
    block = max(holders, key=lambda pair: pair[0])[1] if holders else None
    plugins = block.plugins if block else ()
    return next((p.upstreams for p in plugins if isinstance(p, Forward) and not p.zone), ())
