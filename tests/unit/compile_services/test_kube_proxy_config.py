"""The ConfigMap kube-system/kube-proxy."""

from typing import Any

import pytest

from podwire.base import Cidr
from podwire.compile import compile_plans
from podwire.plan import ConntrackSettings, Plans, ProxySettings, node_port_addresses
from podwire.testing.build import namespace, node, service, snapshot

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
KUBEADM = (
    HEAD
    + """bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection: {acceptContentTypes: "", burst: 0, kubeconfig: /var/lib/kube-proxy/kubeconfig.conf, qps: 0}
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack: {maxPerCore: null, min: null, tcpBeLiberal: false, tcpEstablishedTimeout: null, udpTimeout: 0s}
detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
ipvs: {excludeCIDRs: null, scheduler: "", strictARP: false}
logging: {flushFrequency: 0, verbosity: 0}
metricsBindAddress: ""
mode: ""
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel: {enableDSR: false}
"""
)


def compiled(text: str, *more: dict[str, Any]) -> Plans:
    meta = {"name": "kube-proxy", "namespace": "kube-system", "uid": "cm"}
    value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"config.conf": text}}
    return compile_plans(snapshot(namespace("kube-system"), namespace("a"), node("n", "10.89.0.10"), value, *more))


def said(text: str) -> list[str]:
    return [f"{f.code} {f.path}" for f in compiled(text).findings]


def test_what_kubeadm_writes_asks_for_nothing() -> None:
    plans = compiled(KUBEADM)
    assert plans.services.proxy == ProxySettings()
    assert not plans.findings


def test_what_is_obeyed() -> None:
    text = HEAD + (
        "mode: nftables\nhealthzBindAddress: 127.0.0.1:9\nmetricsBindAddress: 0.0.0.0:10249\n"
        "nodePortAddresses: [192.0.2.0/24, 10.89.0.0/24]\nnftables: {syncPeriod: 1m30s}\n"
    )
    assert not said(text)
    ranges = (Cidr.parse("10.89.0.0/24"), Cidr.parse("192.0.2.0/24"))
    assert compiled(text).services.proxy == ProxySettings("127.0.0.1:9", "0.0.0.0:10249", 90.0, ranges)


@pytest.mark.parametrize("mode", ["iptables", "ipvs"])
def test_other_modes_are_accepted_with_a_note(mode: str) -> None:
    text = HEAD + f"mode: {mode}\n{mode}: {{syncPeriod: 45s}}\n"
    assert said(text) == ["PW1150 data[config.conf].mode"]
    assert compiled(text).services.proxy.sync_period_seconds == 45


def test_masquerade_local_mode_and_conntrack_are_obeyed() -> None:
    text = HEAD + (
        "nftables: {masqueradeAll: true}\ndetectLocalMode: NodeCIDR\n"
        "conntrack: {tcpEstablishedTimeout: 2h, tcpCloseWaitTimeout: 0s, udpTimeout: 10s, udpStreamTimeout: 1m,"
        " tcpBeLiberal: true}\n"
    )
    assert not said(text)
    proxy = compiled(text).services.proxy
    assert proxy.masquerade_all and proxy.local_by_node
    assert proxy.conntrack == ConntrackSettings(7200, 0, 10, 60, liberal=True)


@pytest.mark.parametrize(
    ("scheduler", "draw", "code"),
    [
        ("", "in-turn", ""),
        ("rr", "in-turn", ""),
        ("wrr", "in-turn", ""),
        ("sh", "by-client", ""),
        ("lc", "random", "PW1151"),
        ("mh", "random", "PW1151"),
        ("best", "in-turn", "PW1153"),
    ],
)
def test_ipvs_schedulers_run_as_what_nftables_has(scheduler: str, draw: str, code: str) -> None:
    text = HEAD + f'mode: ipvs\nipvs: {{scheduler: "{scheduler}"}}\niptables: {{masqueradeAll: true}}\n'
    assert compiled(text).services.proxy.draw == draw
    assert compiled(text).services.proxy.masquerade_all
    wanted = [f"{code} data[config.conf].ipvs.scheduler"] if code else []
    assert said(text) == sorted(["PW1150 data[config.conf].mode", *wanted])
    assert compiled(HEAD + f'ipvs: {{scheduler: "{scheduler}"}}\n').services.proxy.draw == "random"


def test_node_ports_only_on_some_addresses() -> None:
    plan = compiled(HEAD + "nodePortAddresses: [192.0.2.0/24]\n").services
    assert node_port_addresses(plan, plan.nodes["n"]) == ()
    plan = compiled(HEAD + "nodePortAddresses: [primary]\n").services
    assert node_port_addresses(plan, plan.nodes["n"]) == ("10.89.0.10",)


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        (HEAD + "iptables: {masqueradeAll: true}\n", "PW1151", "data[config.conf].iptables.masqueradeAll"),
        (HEAD + "nftables: {masqueradeAll: 7}\n", "PW1153", "data[config.conf].nftables.masqueradeAll"),
        (HEAD + "conntrack: {maxPerCore: 1000}\n", "PW1151", "data[config.conf].conntrack.maxPerCore"),
        (HEAD + "conntrack: {udpTimeout: 10}\n", "PW1153", "data[config.conf].conntrack.udpTimeout"),
        (HEAD + "conntrack: {tcpBeLiberal: yea}\n", "PW1153", "data[config.conf].conntrack.tcpBeLiberal"),
        (HEAD + "detectLocalMode: InterfaceNamePrefix\n", "PW1151", "data[config.conf].detectLocalMode"),
        (HEAD + "detectLocalMode: Nowhere\n", "PW1153", "data[config.conf].detectLocalMode"),
        (HEAD + "nodePortAdresses: []\nfoo: 1\n", "PW1152", "data[config.conf].foo"),
        (HEAD + "mode: userspace\n", "PW1153", "data[config.conf].mode"),
        (HEAD + "healthzBindAddress: nonsense\n", "PW1153", "data[config.conf].healthzBindAddress"),
        (HEAD + "nodePortAddresses: [x]\n", "PW1153", "data[config.conf].nodePortAddresses"),
        (HEAD + "nftables: {syncPeriod: soon}\n", "PW1153", "data[config.conf].nftables.syncPeriod"),
        ("kind: Other\n", "PW1153", "data[config.conf]"),
        ("a: [\n", "PW1153", "data[config.conf]"),
        ("- 1\n", "PW1153", "data[config.conf]"),
    ],
)
def test_what_is_not_obeyed_is_said(text: str, code: str, path: str) -> None:
    assert said(text) == [f"{code} {path}"]


def test_a_broken_configuration_disturbs_no_service() -> None:
    plans = compiled("a: [\n", service("a/web", "10.96.0.9"))
    assert "a/web:80/TCP" in plans.services.ports
    assert plans.services.proxy == ProxySettings()
