"""The ConfigMap ``kube-system/kube-proxy`` (KubeProxyConfiguration): what is obeyed, and what is said about the rest.

Rules:

1. Obeyed: ``healthzBindAddress``, ``metricsBindAddress``, ``nodePortAddresses``, the ``conntrack`` timeouts and
   ``tcpBeLiberal``, ``detectLocalMode``, and the mode's ``syncPeriod`` and ``masqueradeAll``. The rules in the kernel
   are nftables in every mode.
2. ``mode: iptables`` and ``ipvs`` are accepted with a note (PW1150): the semantics are those of the nftables mode. Of
   the ipvs schedulers, ``rr`` and ``wrr`` take turns (kube-proxy weighs all endpoints alike) and ``sh`` hashes the
   client; any other spreads at random and is a warning.
3. A field that exists and that podwire does not act on is a warning when it asks for something (PW1151): zero, false,
   empty and kube-proxy's own default ask for nothing. An unknown field is a warning (PW1152).
4. A value that cannot be used is an error (PW1153), and the default stays in force for it.

Source: kubernetes ``staging/src/k8s.io/kube-proxy/config/v1alpha1/types.go``; ``docs/design/services.md``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from podwire.base import Cidr, FieldPath, Finding
from podwire.compile.context import Context
from podwire.kube import ConfigMap
from podwire.plan import ConntrackSettings, Draw, ProxySettings

KEY = "config.conf"
NAMESPACE, NAME = "kube-system", "kube-proxy"
KIND = "KubeProxyConfiguration"
RETIRED = {
    "iptables": "nftables is to be kube-proxy's default",
    "ipvs": "upstream deprecated ipvs in 1.35 and turns it off in 1.40",
}
OBEYED = frozenset({
    "apiVersion", "kind", "mode", "healthzBindAddress", "metricsBindAddress", "nodePortAddresses",
    "nftables.syncPeriod", "iptables.syncPeriod", "ipvs.syncPeriod", "detectLocalMode", "ipvs.scheduler",
    "conntrack.tcpEstablishedTimeout", "conntrack.tcpCloseWaitTimeout", "conntrack.tcpBeLiberal",
    "conntrack.udpTimeout", "conntrack.udpStreamTimeout",
})  # fmt: skip
HARMLESS: dict[str, str | None] = {
    "bindAddress": "0.0.0.0",  # noqa: S104 - compared, not bound
    "configSyncPeriod": None, "hostnameOverride": None,
    "clientConnection": None, "logging": None, "enableProfiling": None, "bindAddressHardFail": None,
    "showHiddenMetricsForVersion": None, "windowsRunAsService": None, "winkernel": None, "portRange": None,
    "nftables.minSyncPeriod": None, "iptables.minSyncPeriod": None, "ipvs.minSyncPeriod": None,
    "nftables.masqueradeBit": None, "iptables.masqueradeBit": None, "oomScoreAdj": None, "udpIdleTimeout": None,
    "resourceContainer": None, "detectLocal.bridgeInterface": None, "detectLocal.interfaceNamePrefix": None,
}  # fmt: skip
"""Fields without an effect that anybody could miss here (None), or only with this value."""
KNOWN = frozenset({
    "featureGates", "clusterCIDR", "conntrack.maxPerCore", "conntrack.min",
    "iptables.masqueradeAll", "nftables.masqueradeAll", "iptables.localhostNodePorts", "ipvs.excludeCIDRs",
    "ipvs.strictARP", "ipvs.tcpTimeout", "ipvs.tcpFinTimeout", "ipvs.udpTimeout",
})  # fmt: skip
WHY = dict.fromkeys(
    ("conntrack.maxPerCore", "conntrack.min"), "the kernel has one nf_conntrack_max for all namespaces of the machine"
)
"""Why a field is not acted on, where there is more to say."""
TIMEOUTS = {
    "tcpEstablishedTimeout": "established_seconds",
    "tcpCloseWaitTimeout": "close_wait_seconds",
    "udpTimeout": "udp_seconds",
    "udpStreamTimeout": "udp_stream_seconds",
}
SCHEDULERS: Mapping[str, Draw] = {"": "in-turn", "rr": "in-turn", "wrr": "in-turn", "sh": "by-client"}
OTHER_SCHEDULERS = frozenset({"lc", "wlc", "lblc", "lblcr", "dh", "sed", "nq", "mh"})
WHOLE = ("clientConnection", "logging", "winkernel", "featureGates")
"""Fields that are not looked into."""
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Configured(msgspec.Struct, frozen=True):
    """Settings, and what is said about the ConfigMap."""

    settings: ProxySettings = ProxySettings()
    findings: tuple[Finding, ...] = ()


def compile_proxy(context: Context) -> Configured:
    """The configuration in force; kube-proxy's defaults without the ConfigMap."""
    found = context.snapshot.get(ConfigMap, NAMESPACE, NAME)
    if found is None or KEY not in found.data:
        return Configured()
    cidrs = context.snapshot.settings.cluster_cidrs
    return context.memo.unit("kube-proxy", (found, cidrs), lambda: read_configuration(found, cluster_cidrs=cidrs))


def read_configuration(found: ConfigMap, *, cluster_cidrs: tuple[str, ...]) -> Configured:
    """Rules 1 to 4. ``cluster_cidrs``: those in force."""
    reading = _Reading(found)
    value = reading.parse(found.data[KEY])
    settings = ProxySettings()
    for name, field, convert in (
        ("healthzBindAddress", "healthz_bind", _bind),
        ("metricsBindAddress", "metrics_bind", _bind),
        ("nodePortAddresses", "node_port_ranges", _ranges),
        (f"{_mode(value)}.syncPeriod", "sync_period_seconds", _seconds),
    ):
        made = reading.convert(value, name, convert)
        if made is not None:
            settings = msgspec.structs.replace(settings, **{field: made})
    settings = msgspec.structs.replace(
        settings,
        masquerade_all=reading.read_flag(value, _masquerade_all(value)),
        local_by_node=reading.read_local_mode(value),
        draw=reading.read_scheduler(value),
        conntrack=reading.read_conntrack(value),
    )
    reading.judge_mode(value)
    for name, item in _flatten(value):
        if (name, item) != ("clusterCIDR", ",".join(cluster_cidrs)):
            reading.judge(name, item)
    return Configured(settings, tuple(sorted(reading.findings)))


class _Reading:
    """One ConfigMap being read."""

    def __init__(self, found: ConfigMap) -> None:
        self.found = found
        self.findings: list[Finding] = []
        self.masquerade_all = ""
        """The field of the mode in force."""

    def say(self, code: str, severity: Any, field: str, message: str, fix: str) -> None:
        path = FieldPath(f"data[{KEY}].{field}" if field else f"data[{KEY}]")
        self.findings.append(Finding(code, severity, self.found.ref, path, message, fix))

    def parse(self, text: str) -> Mapping[str, Any]:
        from podwire.kube.yaml_values import YamlError, read_documents

        try:
            documents = read_documents(text)
        except YamlError as error:
            self.say("PW1153", "error", "", f"line {error.line + 1}: {error}; the defaults are in force", "correct it")
            return {}
        value = documents[0][1] if documents else {}
        if not isinstance(value, Mapping) or value.get("kind") != KIND:
            self.say("PW1153", "error", "", f"this is no {KIND}; the defaults are in force", f"write kind: {KIND}")
            return {}
        return value

    def convert(self, value: Mapping[str, Any], name: str, convert: Any) -> Any:
        """The converted value; None when it is absent, empty or unusable."""
        item = dict(_flatten(value)).get(name)
        if item in (None, "", [], "0s"):
            return None
        try:
            return convert(item)
        except (ValueError, TypeError) as error:
            self.say("PW1153", "error", name, f"{item!r}: {error}; the default is in force", "correct the value")
            return None

    def read_flag(self, value: Mapping[str, Any], name: str) -> bool:
        """A boolean; anything else is said and false."""
        self.masquerade_all = name
        item = dict(_flatten(value)).get(name)
        if item not in (None, True, False):
            self.say("PW1153", "error", name, f"{item!r} is neither true nor false", "write true or false")
        return item is True

    def read_local_mode(self, value: Mapping[str, Any]) -> bool:
        """Whether only the node's own pods are inside."""
        mode = value.get("detectLocalMode") or "ClusterCIDR"
        if mode in ("BridgeInterface", "InterfaceNamePrefix"):
            words = f"{mode}: a node's own pods are told by their addresses here, which comes to the same"
            self.say("PW1151", "info", "detectLocalMode", words, "write detectLocalMode: NodeCIDR")
        elif mode not in ("ClusterCIDR", "NodeCIDR"):
            words = f"{mode!r} is no mode; ClusterCIDR is in force"
            self.say("PW1153", "error", "detectLocalMode", words, "write ClusterCIDR or NodeCIDR")
            return False
        return mode != "ClusterCIDR"

    def read_scheduler(self, value: Mapping[str, Any]) -> Draw:
        """How endpoints are chosen; only mode ipvs has schedulers."""
        if value.get("mode") != "ipvs":
            return "random"
        section = value.get("ipvs")
        name = str((section.get("scheduler") if isinstance(section, Mapping) else None) or "")
        if name in OTHER_SCHEDULERS:
            words = f"scheduler {name} is not there in nftables: endpoints are chosen at random"
            self.say("PW1151", "warning", "ipvs.scheduler", words, "write rr or sh, or do not rely on it")
        elif name not in SCHEDULERS:
            words = f"{name!r} is no scheduler; rr is in force"
            self.say("PW1153", "error", "ipvs.scheduler", words, "write rr, wrr or sh")
            return SCHEDULERS[""]
        return SCHEDULERS.get(name, "random")

    def read_conntrack(self, value: Mapping[str, Any]) -> ConntrackSettings:
        """Timeouts in whole seconds; 0 leaves them to the kernel."""
        found = ConntrackSettings()
        fields = dict(_flatten(value))
        for name, field in TIMEOUTS.items():
            if fields.get(f"conntrack.{name}") == "0s":
                found = msgspec.structs.replace(found, **{field: 0})
                continue
            seconds = self.convert(value, f"conntrack.{name}", _whole_seconds)
            if seconds is not None:
                found = msgspec.structs.replace(found, **{field: seconds})
        liberal = fields.get("conntrack.tcpBeLiberal")
        if liberal not in (None, True, False):
            self.say(
                "PW1153", "error", "conntrack.tcpBeLiberal", f"{liberal!r} is neither true nor false", "correct it"
            )
        return msgspec.structs.replace(found, liberal=liberal is True)

    def judge_mode(self, value: Mapping[str, Any]) -> None:
        mode = value.get("mode") or "nftables"
        if mode in RETIRED:
            note = f"mode {mode} is accepted; the rules are nftables with its semantics ({RETIRED[mode]})"
            self.say("PW1150", "info", "mode", note, "write mode: nftables")
        elif mode != "nftables":
            self.say("PW1153", "error", "mode", f"{mode!r} is no mode; nftables is in force", "write mode: nftables")

    def judge(self, name: str, item: Any) -> None:
        """Rule 3."""
        if name in OBEYED or name == self.masquerade_all or not item or item in ("0s", "0"):
            return
        if name in HARMLESS:
            if HARMLESS[name] in (None, item):
                return
        elif name not in KNOWN:
            self.say("PW1152", "warning", name, f"{KIND} has no field {name}", "remove it")
            return
        why = f": {WHY[name]}" if name in WHY else ""
        self.say("PW1151", "warning", name, f"{item!r} has no effect here{why}", "do not rely on it")


def _mode(value: Mapping[str, Any]) -> str:
    mode = value.get("mode")
    return mode if isinstance(mode, str) and mode in RETIRED else "nftables"


def _masquerade_all(value: Mapping[str, Any]) -> str:
    """Mode ipvs has it in the section of iptables."""
    return "nftables.masqueradeAll" if _mode(value) == "nftables" else "iptables.masqueradeAll"


def _flatten(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Fields, those of sections by ``section.field``."""
    for name, item in value.items():
        if isinstance(item, Mapping) and name not in WHOLE:
            yield from ((f"{name}.{key}", inner) for key, inner in item.items())
        else:
            yield name, item


def _bind(item: Any) -> str:
    address, _, port = str(item).rpartition(":")
    if not address or not port.isdigit() or int(port) > 65535:
        raise ValueError("an address is written 0.0.0.0:10256")
    if ":" in address:
        raise ValueError("only IPv4 addresses are listened on")
    Cidr.parse(address)
    return f"{address}:{port}"


def _ranges(items: Any) -> tuple[Cidr, ...]:
    if not isinstance(items, list):
        raise TypeError("a list of CIDRs, or [primary]")
    if items == ["primary"]:
        return ()
    return tuple(sorted(Cidr.parse(item) for item in items))


def _whole_seconds(item: Any) -> int:
    seconds = round(_seconds(item))
    if not 0 < seconds < 1 << 31:
        raise ValueError("from 1s to 2^31 seconds")
    return seconds


def _seconds(item: Any) -> float:
    """A Go duration: ``1m30s``."""
    text = str(item)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise ValueError("a duration is written 30s or 1m30s")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
