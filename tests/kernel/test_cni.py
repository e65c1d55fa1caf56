"""Containers of another runtime on podwire's network, attached by the CNI plugin: each command of the spec."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.cni_rig import PLUGINS, CniError, Network, addresses_in, container, echo_server, plugin_of

from podwire.node import list_clusters, netns
from podwire.testing.process import RunningPodwire, eventually, running_podwire

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.compat,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{name: tcp, port: 80, targetPort: 7000}, {name: udp, port: 53, protocol: UDP, targetPort: 7000}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: friends}
spec:
  podSelector: {matchLabels: {app: echo}}
  ingress: [{from: [{podSelector: {matchLabels: {friend: "yes"}}}], ports: [{port: 7000}, {port: 7000, protocol: UDP}]}]
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPodwire]:
    manifest = tmp_path_factory.mktemp("cni") / "service.yaml"
    manifest.write_text(SERVICE)
    with running_podwire([manifest]) as running:
        yield running
        assert running.get("pods")["items"] == []


def network(cluster: RunningPodwire, node: str = "node-1", **more: Any) -> Network:
    return Network([plugin_of(cluster.home, cluster.name, node, **more)])


def labels(**wanted: str) -> dict[str, Any]:
    return {"args": {"cni": {"labels": [{"key": k, "value": v} for k, v in wanted.items()]}}}


def called(name: str, namespace: str = "default") -> str:
    return f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID=7"


def talks(space: str, address: str, port: int, *, seconds: float = 3) -> bool:
    with netns.inside(descriptor := os.open(space, os.O_RDONLY | os.O_CLOEXEC)):
        talking = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    os.close(descriptor)
    with closing(talking):
        talking.settimeout(seconds)
        try:
            talking.connect((address, port))
            talking.sendall(b"hello")
            return talking.recv(16) == b"hello"
        except OSError:
            return False


def test_an_attached_container_is_a_pod_of_services_and_policies(cluster: RunningPodwire) -> None:
    with container() as (server, space), container() as (friend, near), container() as (stranger, far):
        serving = network(cluster, **labels(app="echo"))
        result = serving.add(server, space, args=called("echo"))
        address = result["ips"][0]["address"].removesuffix("/32")
        assert addresses_in(space) == [address]
        assert [i["name"] for i in result["interfaces"]][1] == "eth0"
        assert result["interfaces"][1] == {
            "name": "eth0", "mac": result["interfaces"][1]["mac"], "mtu": 1500, "sandbox": space,
        }  # fmt: skip
        assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}]
        assert result["dns"]["nameservers"] == ["10.96.0.10"]
        assert result["dns"]["search"][0] == "default.svc.cluster.local"
        pod = cluster.get("pod", "echo")
        assert (pod["status"]["podIP"], pod["spec"]["nodeName"]) == (address, "node-1")
        assert pod["metadata"]["annotations"]["podwire.dev/attached"] == server
        friends, strangers = network(cluster, "node-2", **labels(friend="yes")), network(cluster, "node-2")
        friends.add(friend, near)
        strangers.add(stranger, far)
        vip = cluster.get("service", "echo")["spec"]["clusterIP"]
        with echo_server(space, address, 7000):
            for target, port in ((address, 7000), (vip, 80)):
                assert eventually(lambda t=target, p=port: talks(near, t, p))  # type: ignore[misc]
                assert not talks(far, target, port)
        for attached, one, where in ((serving, server, space), (friends, friend, near), (strangers, stranger, far)):
            attached.check(one, where)
            attached.delete(one, where)
            attached.delete(one)  # again, and without the namespace
        assert addresses_in(space) == []
        eventually(lambda: cluster.get("pods")["items"], lambda items: not items)


def test_a_pod_that_somebody_made_waits_for_its_container(cluster: RunningPodwire) -> None:
    meta = {"name": "mine", "annotations": {"podwire.dev/attached": "true"}, "labels": {"app": "mine"}}
    spec = {"nodeName": "node-1", "containers": [{"name": "main", "image": "example.com/mine"}]}
    cluster.kubectl(
        "create", "-f", "-", text_input=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    )
    status = eventually(lambda: cluster.get("pod", "mine")["status"], lambda s: "containerStatuses" in s)
    assert "waits for a container runtime" in status["containerStatuses"][0]["state"]["waiting"]["message"]
    with container() as (one, space):
        attached = network(cluster)
        attached.add(one, space, args=called("mine"))
        cluster.kubectl("wait", "--for=condition=Ready", "pod/mine", "--timeout=30s")
        attached.delete(one, space)
        eventually(
            lambda: cluster.get("pod", "mine")["status"]["containerStatuses"][0]["ready"], lambda ready: not ready
        )
    cluster.kubectl("delete", "pod", "mine", "--timeout=30s")


def test_what_cannot_be_is_refused_with_the_numbers_of_the_specification(cluster: RunningPodwire) -> None:
    with container() as (one, space):
        attached = network(cluster)
        refusals: list[tuple[int, str, Any]] = [
            (1, "cniVersion '9.9.9'", lambda: Network(attached.plugins, version="9.9.9").add(one, space)),
            (2, "unsupported field ipam", lambda: network(cluster, ipam={"type": "host-local"}).add(one, space)),
            (2, "runtimeConfig.bandwidth",
             lambda: network(cluster, capabilities={"bandwidth": True}).add(one, space, bandwidth={"ingressRate": 1})),
            (3, "is not attached", lambda: _check_unknown(attached, one, space)),
            (4, "CNI_CONTAINERID", lambda: attached.add("-bad", space)),
            (4, "CNI_IFNAME", lambda: attached.add(one, space, interface="a/b")),
            (4, "CNI_NETNS", lambda: attached.add(one, "/run/netns/not-there")),
            (4, "no network namespace", lambda: attached.add(one, "/etc/hostname")),
            (4, "CNI_ARGS", lambda: attached.add(one, space, args="nonsense")),
            (4, "no pod is called", lambda: attached.add(one, space, args=called("UPPER"))),
            (7, "no node 'nowhere'", lambda: network(cluster, "nowhere").add(one, space)),
            (7, "names no node", lambda: network(cluster, "").add(one, space)),
            (7, "10.9.9.9 is not to be had", lambda: attached.add(one, space, args="IP=10.9.9.9")),
            (7, "an interface lo already", lambda: attached.add(one, space, interface="lo")),
            (50, "no node 'nowhere'", lambda: network(cluster, "nowhere").status()),
        ]  # fmt: skip
        for code, words, call in refusals:
            with pytest.raises(CniError) as caught:
                call()
            assert (caught.value.code, words in caught.value.message) == (code, True), caught.value
        attached.status()
        attached.add(one, space)
        with pytest.raises(CniError, match="DEL comes before another ADD"):
            attached.add(one, space)
        attached.delete(one, space)


def _check_unknown(attached: Network, one: str, space: str) -> None:
    attached.results[one, "eth0"] = {"cniVersion": "1.1.0", "ips": []}
    attached.check(one, space)


def test_a_pod_that_podwire_runs_is_not_anybody_elses(cluster: RunningPodwire) -> None:
    cluster.kubectl("run", "own", "--image=example.com/own")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/own", "--timeout=30s")
    node = cluster.get("pod", "own")["spec"]["nodeName"]
    with container() as (one, space), pytest.raises(CniError, match="run by podwire itself"):
        network(cluster, node).add(one, space, args=called("own"))
    cluster.kubectl("delete", "pod", "own", "--wait=true", "--grace-period=0", "--force")
    eventually(lambda: cluster.get("pods")["items"], lambda items: not items)


def test_check_says_what_is_broken(cluster: RunningPodwire) -> None:
    with container() as (one, space):
        attached = network(cluster)
        attached.add(one, space)
        attached.check(one, space)
        inside = ["nsenter", f"--net={space}", "ip"]
        address = addresses_in(space)[0]
        for command, words in (
            (["route", "delete", "default"], "no default route"),
            (["address", "delete", f"{address}/32", "dev", "eth0"], f"does not have the address {address}"),
            (["link", "delete", "eth0"], "has no link"),
        ):
            subprocess.run([*inside, *command], check=True)
            with pytest.raises(CniError, match=words):
                attached.check(one, space)
        attached.delete(one, space)


def test_gc_leaves_what_is_valid(cluster: RunningPodwire) -> None:
    with container() as (one, first), container() as (two, second):
        attached = network(cluster)
        attached.add(one, first)
        attached.add(two, second)
        other = Network(attached.plugins, name="other")
        other.collect()  # another network: none of these
        attached.collect((two, "eth0"))
        assert addresses_in(first) == []
        attached.check(two, second)
        attached.collect()
        assert addresses_in(second) == []
        eventually(lambda: cluster.get("pods")["items"], lambda items: not items)


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_results_of_earlier_versions(cluster: RunningPodwire, version: str) -> None:
    with container() as (one, space):
        attached = Network(network(cluster).plugins, version=version)
        result = attached.add(one, space)
        assert result["cniVersion"] == version
        assert ("version" in result["ips"][0]) == (version < "1.0.0")
        assert "mtu" not in result["interfaces"][0]
        attached.delete(one, space)


@pytest.mark.skipif(shutil.which(f"{PLUGINS}/tuning") is None, reason="needs containernetworking-plugins")
def test_stock_plugins_run_before_and_after_it(cluster: RunningPodwire) -> None:
    """``loopback`` is what every runtime runs; ``tuning`` changes the interface and passes the result on."""
    plugins = [*network(cluster).plugins, {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}}]
    with container() as (one, space):
        Network([{"type": "loopback"}], name="lo", version="1.0.0").add(one, space, interface="lo")
        attached = Network(plugins, version="1.0.0")
        result = attached.add(one, space)
        assert addresses_in(space) == [result["ips"][0]["address"].removesuffix("/32")]
        read = ["nsenter", f"--net={space}", "cat", "/proc/sys/net/ipv4/conf/eth0/arp_filter"]
        assert subprocess.run(read, capture_output=True, text=True, check=True).stdout.strip() == "1"
        attached.check(one, space)
        attached.delete(one, space)


def test_a_second_address_of_a_pod_is_refused_since_policies_know_one(cluster: RunningPodwire) -> None:
    with container() as (one, space):
        attached = network(cluster)
        attached.add(one, space, args=called("twin"))
        with pytest.raises(CniError, match="has its address already") as caught:
            attached.add(one, space, interface="net1", args=called("twin"))
        assert caught.value.code == 7
        assert addresses_in(space, "net1") == []
        attached.delete(one, space, interface="net1")
        attached.check(one, space)
        attached.delete(one, space)
        eventually(lambda: cluster.get("pods")["items"], lambda items: not items)


def test_without_a_running_podwire(tmp_path: Path) -> None:
    with running_podwire() as running, container() as (one, space):
        attached = network(running)
        attached.add(one, space)
        running.kill()
        with pytest.raises(CniError) as caught:
            attached.status()
        assert caught.value.code == 51
        with container() as (two, other), pytest.raises(CniError) as caught:
            attached.add(two, other)
        assert caught.value.code == 11
        attached.delete(one, space)
        assert addresses_in(space) == []
        with pytest.raises(CniError) as caught:
            attached.status()
        assert caught.value.code == 50
        attached.delete(one, space)
        running.up()
        eventually(lambda: running.get("pods")["items"], lambda items: not items)
        attached.add(one, space)
        attached.check(one, space)
        running.run("podwire", "down", "--name", running.name)
        assert running.name not in list_clusters()
        eventually(lambda: not addresses_in(space))  # the kernel ends namespaces, and links with them, in its own time


def test_port_mappings_are_ports_of_the_node(cluster: RunningPodwire) -> None:
    with container() as (one, space):
        attached = network(cluster, capabilities={"portMappings": True})
        mapping = [{"hostPort": 18080, "containerPort": 7000, "protocol": "tcp"}]
        address = attached.add(one, space, portMappings=mapping)["ips"][0]["address"].removesuffix("/32")
        node = cluster.get("node", "node-1")["status"]["addresses"][0]["address"]
        with echo_server(space, address, 7000):
            eventually(lambda: _host_talks(node, 18080))
        attached.delete(one, space)
        eventually(lambda: cluster.get("pods")["items"], lambda items: not items)


def _host_talks(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as talking:
        talking.settimeout(3)
        try:
            talking.connect((address, port))
            talking.sendall(b"hello")
            return talking.recv(16) == b"hello"
        except OSError:
            return False
