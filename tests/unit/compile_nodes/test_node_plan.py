"""Bound pods to units of the node plan."""

from base64 import b64encode
from typing import Any

import pytest
from tests.unit.simulate import World, node, pod, service

from podwire.plan import ContainerFact, PlaneFact, PodFact
from podwire.plan.node import (
    EmptyVolume,
    ExecCheck,
    FileVolume,
    Hook,
    HostVolume,
    HttpCheck,
    Mount,
    Pod,
    ProcessWork,
    RestartRule,
    StandInPort,
    StandInWork,
    User,
)
from podwire.snapshot import ImageRule, ImageRun, Settings


def unit_of(world: World, name: str = "p") -> Pod:
    return world.compile().nodes.pods[f"default/{name}"]


def bound(world: World, value: dict[str, Any]) -> Pod:
    """The unit of a pod on node-1, before anything observed it."""
    value["spec"]["nodeName"] = "node-1"
    world.apply(value)
    return unit_of(world, value["metadata"]["name"])


def container(value: dict[str, Any], **fields: Any) -> dict[str, Any]:
    value["spec"]["containers"][0] |= fields
    return value


def config(kind: str, name: str, **data: str) -> dict[str, Any]:
    if kind == "Secret":
        data = {k: b64encode(v.encode()).decode() for k, v in data.items()}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": data}


# what runs


def test_an_unknown_image_is_a_stand_in_on_all_its_ports() -> None:
    world = World()
    world.apply(service("a", "p", ports=[{"port": 80, "targetPort": 9000}]))
    world.apply(service("b", "other", ports=[{"port": 80, "targetPort": 9999}]))
    probe = {"httpGet": {"path": "/ready", "port": 8081}}
    unit = bound(world, container(pod("p"), readinessProbe=probe))
    work = unit.containers[0].work
    assert isinstance(work, StandInWork)
    assert work.ports == (StandInPort(8080, "TCP", "http"), StandInPort(8081), StandInPort(9000))
    assert "stand-in" in work.reason


@pytest.mark.parametrize(
    ("image", "command", "args", "argv"),
    [
        ("busybox:1.36", ["sleep", "infinity"], [], ("sleep", "infinity")),
        ("docker.io/library/busybox", [], ["nc", "-l"], ("nc", "-l")),
        ("nicolaka/netshoot:v1", [], [], ("sleep", "infinity")),
        ("curlimages/curl@sha256:00", [], ["-s", "http://web"], ("curl", "-s", "http://web")),
        ("registry.k8s.io/pause:3.9", [], [], ("sleep", "infinity")),
        ("registry.k8s.io/e2e-test-images/agnhost:2.40", [], ["pause"], ("sleep", "infinity")),
    ],
)
def test_tool_images_run_with_the_tools_of_this_machine(
    image: str, command: list[str], args: list[str], argv: tuple[str, ...]
) -> None:
    unit = bound(World(), container(pod("p"), image=image, command=command, args=args))
    work = unit.containers[0].work
    assert isinstance(work, ProcessWork)
    assert work.argv == argv


def test_agnhost_servers_listen_where_their_flags_say() -> None:
    value = container(pod("p"), image="registry.k8s.io/e2e-test-images/agnhost:2.40", args=["netexec", "--udp-port=81"])
    work = bound(World(), value).containers[0].work
    assert isinstance(work, StandInWork)
    assert StandInPort(81, "UDP") in work.ports


def test_the_users_mapping_wins_and_takes_the_args() -> None:
    rule = ImageRule("*/busybox*", ("python3", "app.py"))
    world = World(Settings(planes=False, images=(rule,)))
    value = container(pod("p"), image="docker.io/busybox:1", command=["sleep"], args=["--port", "80"])
    work = bound(world, value).containers[0].work
    assert isinstance(work, ProcessWork)
    assert work.argv == ("python3", "app.py", "--port", "80")
    assert "mapped by the user" in work.reason


def test_podwires_own_planes_listen_themselves() -> None:
    probe = {"httpGet": {"path": "/ready", "port": 8181}}
    unit = bound(World(), container(pod("p"), image="podwire/dns", readinessProbe=probe))
    assert isinstance(unit.containers[0].work, StandInWork)
    assert unit.containers[0].work.ports == ()
    assert unit.containers[0].readiness is None


# environment


def test_variables_come_from_everywhere_and_expand_in_order() -> None:
    world = World()
    world.apply(config("ConfigMap", "settings", COLOR="blue", SIZE="9"))
    world.apply(config("Secret", "keys", token="s3cret"))
    env = [
        {"name": "HOST", "value": "db"},
        {"name": "URL", "value": "tcp://$(HOST):1/$(NONE)/$$(HOST)"},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "NODE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "MAYBE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "no", "optional": True}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
    ]
    sources = [{"configMapRef": {"name": "settings"}, "prefix": "CFG_"}]
    value = container(
        pod("p"),
        image="busybox",
        command=["echo", "$(URL)"],
        env=env,
        envFrom=sources,
        resources={"limits": {"cpu": "500m"}},
    )
    unit = bound(world, value)
    assert dict(unit.containers[0].env) == {
        "CFG_COLOR": "blue",
        "CFG_SIZE": "9",
        "HOST": "db",
        "URL": "tcp://db:1/$(NONE)/$(HOST)",
        "ME": "p",
        "APP": "p",
        "NODE_IP": "10.89.0.10",
        "TOKEN": "s3cret",
        "CPU": "500",
    }
    work = unit.containers[0].work
    assert isinstance(work, ProcessWork)
    assert work.argv == ("echo", "tcp://db:1/$(NONE)/$(HOST)")


def test_a_missing_config_map_holds_the_pod_and_says_so_everywhere() -> None:
    world = World()
    world.apply(container(pod("p"), envFrom=[{"configMapRef": {"name": "later"}}]))
    world.settle()
    assert not unit_of(world).run
    state = world.get("Pod", "p")["status"]["containerStatuses"][0]["state"]
    assert state == {"waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "later" not found'}}
    assert [e["reason"] for e in world.all("Event")] == ["PW6022"]
    world.apply(config("ConfigMap", "later", A="1"))
    world.settle()
    assert unit_of(world).run
    assert world.get("Pod", "p")["status"]["phase"] == "Running"
    assert world.compile().findings == ()


def test_a_pod_that_wants_its_own_address_waits_for_it() -> None:
    env = [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    world = World()
    unit = bound(world, container(pod("p"), env=env))
    assert not unit.run
    world.settle()
    unit = unit_of(world)
    assert unit.run
    assert dict(unit.containers[0].env) == {"IP": world.get("Pod", "p")["status"]["podIP"]}


# files


def test_volumes_become_files_and_directories() -> None:
    world = World()
    world.apply(config("ConfigMap", "site", **{"a.conf": "A", "b.conf": "B"}))
    world.apply(config("Secret", "tls", key="K"))
    volumes = [
        {"name": "site", "configMap": {"name": "site", "items": [{"key": "a.conf", "path": "sub/a", "mode": 0o600}]}},
        {"name": "tls", "secret": {"secretName": "tls"}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "info", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "site"}}, {"secret": {"name": "tls"}}]}},
    ]
    mounts = [
        {"name": "site", "mountPath": "/etc/site"},
        {"name": "tls", "mountPath": "/one", "subPath": "key"},
        {"name": "tmp", "mountPath": "/tmp/work"},
        {"name": "info", "mountPath": "/info"},
        {"name": "all", "mountPath": "/all"},
    ]
    value = container(pod("p", volumes=volumes), volumeMounts=mounts)
    unit = bound(world, value)
    files = {v.name: {f.path: (f.content, f.mode) for f in v.files} for v in unit.volumes if isinstance(v, FileVolume)}
    assert files == {
        "site": {"sub/a": (b"A", 0o600)},
        "tls": {"key": (b"K", 0o644)},
        "info": {"n": (b"p", 0o644)},
        "all": {"a.conf": (b"A", 0o644), "b.conf": (b"B", 0o644), "key": (b"K", 0o644)},
    }
    assert EmptyVolume("tmp") in unit.volumes
    assert unit.containers[0].mounts == (
        Mount("/etc/site", "site"),
        Mount("/one", "tls", "key"),
        Mount("/tmp/work", "tmp"),
        Mount("/info", "info"),
        Mount("/all", "all"),
    )


def test_host_paths_and_parts_by_expression() -> None:
    world = World()
    volumes = [{"name": "logs", "hostPath": {"path": "/var/log", "type": "Directory"}}]
    mounts = [{"name": "logs", "mountPath": "/data", "subPathExpr": "$(WHO)/x", "readOnly": True}]
    env = [{"name": "WHO", "value": "me"}]
    unit = bound(world, container(pod("p", volumes=volumes), volumeMounts=mounts, env=env))
    assert unit.volumes == (HostVolume("logs", "/var/log", "Directory"),)
    assert unit.containers[0].mounts == (Mount("/data", "logs", "me/x", True),)
    assert world.compile().findings == ()


def test_hooks_restart_rules_and_users_of_containers() -> None:
    world = World()
    lifecycle = {
        "postStart": {"exec": {"command": ["warm", "up"]}},
        "preStop": {"httpGet": {"port": "http", "path": "/drain"}},
    }
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    value = container(
        pod("p", activeDeadlineSeconds=60, securityContext={"runAsUser": 1000, "fsGroup": 7}),
        lifecycle=lifecycle,
        restartPolicy="Never",
        restartPolicyRules=rules,
        securityContext={"runAsUser": 2000},
        stdin=True,
        tty=True,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="FallbackToLogsOnError",
    )
    unit = bound(world, value)
    made = unit.containers[0]
    assert (unit.deadline_seconds, unit.fs_group) == (60, 7)
    assert made.post_start == Hook(ExecCheck(("warm", "up")))
    assert made.pre_stop == Hook(HttpCheck(8080, "/drain"))
    assert (made.restart_policy, made.restart_rules) == ("Never", (RestartRule((42,)),))
    assert made.user == User("2000", "", (7,))
    assert (made.stdin, made.tty, made.message_path, made.message_from_logs) == (
        True,
        True,
        "/dev/termination-log",
        True,
    )
    assert world.compile().findings == ()


def test_a_volume_that_is_not_mounted_is_a_finding() -> None:
    world = World()
    bound(world, pod("p", volumes=[{"name": "host", "nfs": {"server": "a", "path": "/"}}]))
    assert [(f.code, f.severity, f.path) for f in world.compile().findings] == [
        ("PW6020", "warning", "spec.volumes[0]")
    ]


def test_fields_nothing_acts_on_are_findings() -> None:
    world = World()
    ports = [{"containerPort": 80, "hostPort": 8080}]
    bound(world, container(pod("p"), ports=ports, lifecycle={"preStop": {"tcpSocket": {"port": 1}}}))
    found = {(f.code, str(f.path)) for f in world.compile().findings}
    assert found == {
        ("PW6024", "spec.containers[0].lifecycle.preStop"),
    }


# names and DNS


def test_hostname_hosts_and_resolv_conf() -> None:
    world = World()
    world.apply(
        pod("p", hostname="h", subdomain="sub", hostAliases=[{"ip": "192.0.2.7", "hostnames": ["legacy", "old"]}])
    )
    world.settle()
    unit = unit_of(world)
    address = world.get("Pod", "p")["status"]["podIP"]
    assert unit.hostname == "h"
    assert unit.addresses == ((address,) if address else ())
    hosts = dict(unit.hosts)
    assert hosts[address] == ("h.sub.default.svc.cluster.local", "h")
    assert hosts["192.0.2.7"] == ("legacy", "old")
    assert unit.resolv_conf == (
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
    )


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"dnsPolicy": "Default"}, "nameserver 192.0.2.53\nnameserver 2001:db8::1\n"),
        ({"hostNetwork": True}, "nameserver 192.0.2.53\nnameserver 2001:db8::1\n"),
        (
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"], "searches": ["x.y"]}},
            "search x.y\nnameserver 192.0.2.1\n",
        ),
        (
            {"dnsConfig": {"options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}]}},
            "search default.svc.cluster.local svc.cluster.local cluster.local\n"
            "nameserver 10.96.0.10\noptions ndots:1 edns0\n",
        ),
    ],
)
def test_dns_policies(spec: dict[str, Any], text: str) -> None:
    world = World(Settings(planes=False, upstreams=("192.0.2.53:5353", "[2001:db8::1]:53")))
    assert bound(world, pod("p", **spec)).resolv_conf == text


# probes


def test_probes_have_defaults_and_numbers() -> None:
    probe = {"httpGet": {"path": "/ok", "port": "http"}, "periodSeconds": 1}
    unit = bound(World(), container(pod("p"), readinessProbe=probe)).containers[0]
    assert unit.readiness is not None
    assert unit.readiness.check == HttpCheck(8080, "/ok")
    assert (unit.readiness.period_seconds, unit.readiness.timeout_seconds) == (1, 1)
    assert (unit.readiness.success_threshold, unit.readiness.failure_threshold) == (1, 3)


def test_a_probe_of_a_port_that_is_not_there_is_an_error() -> None:
    world = World()
    bound(world, container(pod("p"), livenessProbe={"tcpSocket": {"port": "nope"}}))
    assert [f.code for f in world.compile().findings] == ["PW6023"]


# when it may run


def test_containers_wait_for_the_policy_plane() -> None:
    world = World(Settings())
    unit = bound(world, pod("p"))
    assert not unit.run
    world.plane("nft/node-1", PlaneFact(True, {unit.uid: "digest"}))
    assert unit_of(world).run
    running = ContainerFact("main", "running", ready=True, started=True)
    world.builder.observe(unit.uid, PodFact(unit.uid, "node-1", ("10.244.0.9",), (running,)))
    world.plane("nft/node-1", PlaneFact(False))
    assert unit_of(world).run


def test_the_host_network_waits_for_nothing() -> None:
    unit = bound(World(Settings()), pod("p", hostNetwork=True))
    assert (unit.run, unit.host_network, unit.addresses, unit.hostname) == (True, True, (), "node-1")


def test_units_are_shared_while_nothing_changed() -> None:
    world = World()
    world.apply(pod("a"))
    world.apply(pod("b"))
    world.settle()
    before = world.compile().nodes
    world.unready.add("a")
    world.settle()
    after = world.compile().nodes
    assert after.pods["default/b"] is before.pods["default/b"]
    assert world.compile().nodes is after


def test_a_terminating_pod_keeps_its_unit_until_it_is_gone() -> None:
    world = World()
    world.apply(pod("p"))
    world.settle()
    world.hold_gone = True
    world.delete("Pod", "p")
    world.settle()
    assert unit_of(world).terminating
    assert unit_of(world).grace_seconds == 30


def test_a_finished_pod_nobody_knows_does_not_run_again() -> None:
    world = World()
    value = pod("p", nodeName="node-1")
    world.apply(value)
    world.objects["Pod", "default/p"]["status"] = {"phase": "Succeeded"}
    world.edit("Pod", "p", lambda p: None)
    assert "default/p" not in world.compile().nodes.pods


def test_a_node_without_a_network_is_said_so_and_its_pods_stay_out() -> None:
    world = World()
    broken = node("node-9", 7)
    broken["spec"] = {}
    world.apply(broken)
    world.apply(pod("p", nodeName="node-9"))
    plans = world.compile()
    assert "node-9" not in plans.nodes.nodes
    assert plans.nodes.pods == {}
    assert [f.code for f in plans.findings] == ["PW6001"]


def test_nodes_carry_zone_address_and_cidr() -> None:
    unit = World().compile().nodes.nodes["node-2"]
    assert (unit.zone, unit.addresses, unit.pod_cidrs) == ("b", ("10.89.0.11",), ("10.244.1.0/24",))


@pytest.mark.parametrize(
    ("fields", "argv"),
    [
        ({}, ("/serve", "--port", "80")),
        ({"args": ["--help"]}, ("/serve", "--help")),
        ({"command": ["sh"]}, ("sh",)),
        ({"command": ["sh"], "args": ["-c"]}, ("sh", "-c")),
    ],
)
def test_an_image_with_a_root_of_its_own_runs_as_it_says(fields: dict[str, Any], argv: tuple[str, ...]) -> None:
    run = ImageRun(("/layers/2", "/layers/1"), ("/serve",), ("--port", "80"), (("A", "1"), ("B", "2")), "/srv", "web:9")
    world = World(settings=Settings(planes=False, images=(ImageRule("nginx*", (), "an image", run=run),)))
    made = bound(
        world, container(pod("p"), image="nginx:1.27", env=[{"name": "B", "value": "3"}], **fields)
    ).containers[0]
    assert made.work == ProcessWork(argv, "image nginx:1.27 is an image", "/srv", (), ("/layers/2", "/layers/1"))
    assert made.env == (("A", "1"), ("B", "3"))
    assert made.user == User("web", "9")
