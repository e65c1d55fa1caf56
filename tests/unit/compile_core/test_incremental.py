"""Every pass, after any sequence of changes, gives what a compile without memory gives, byte for byte."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.base import differences
from podwire.compile import Compiler
from podwire.plan import ContainerFact, EventFact, Fact, NodeFact, PlaneFact, Plans, PodFact
from podwire.plan.text import format_plans
from podwire.snapshot import Settings, SnapshotBuilder
from podwire.testing.build import NOW, endpoint, endpoint_slice, namespace, node, pod, policy, service
from podwire.testing.generate import generate_cluster

Json = dict[str, Any]
NAMES, SPACES, NODES = ("red", "green", "blue", "cyan"), ("a", "b"), ("node-1", "node-2")


class World:
    """A cluster that changes at random."""

    def __init__(self, seed: int, *, planes: bool) -> None:
        self.random = Random(seed)
        self.builder = SnapshotBuilder(Settings(planes=planes))
        for value in (namespace("a"), namespace("b"), node("node-1", "10.89.0.10"), node("node-2", "10.89.0.11")):
            self.builder.put(value)
        self.changes: tuple[Callable[[], None], ...] = (
            self.put_service, self.remove_service, self.put_slice, self.remove_slice, self.put_endpoints,
            self.put_pod, self.put_pod, self.put_pod, self.remove_pod, self.put_node, self.put_policy,
            self.remove_policy, self.put_config, self.remove_config, self.put_volume, self.put_namespace,
            self.put_workload, self.put_ingress, self.report_pod, self.report_pod, self.report_node, self.report_plane,
            self.report_event, self.put_corefile,
        )  # fmt: skip

    def change(self) -> None:
        for _ in range(self.random.randint(1, 3)):
            self.random.choice(self.changes)()

    def key(self) -> str:
        return f"{self.random.choice(SPACES)}/{self.random.choice(NAMES)}"

    def pod_key(self) -> str:
        return f"{self.random.choice(SPACES)}/p{self.random.randint(0, 3)}"

    def address(self) -> str:
        return f"10.244.0.{self.random.randint(2, 9)}"

    def put_service(self) -> None:
        random, key = self.random, self.key()
        address = random.choice(
            ("None", f"10.96.0.{NAMES.index(key[2:]) + 10 * SPACES.index(key[0]) + 1}", "10.244.0.5", "10.96.0.10")
        )
        ports = [{"name": n, "port": p, "protocol": "TCP"} for n, p in (("x", 80), ("y", 81))]
        more: Json = random.choice(
            (
                {},
                {"selector": {"app": key[2:]}},
                {"selector": {"app": key[2:], "tier": "front"}, "type": "LoadBalancer"},
            )
        )
        self.builder.put(service(key, address, ports=ports[: random.randint(1, 2)], **more))

    def remove_service(self) -> None:
        self.builder.remove("Service", self.key())

    def put_slice(self) -> None:
        random = self.random
        addresses = {random.choice((self.address(), "10.96.0.1", "127.0.0.1")) for _ in range(random.randint(0, 3))}
        value = endpoint_slice(self.key(), *map(endpoint, sorted(addresses)), suffix=random.choice("st"))
        value["metadata"]["resourceVersion"] = str(random.randint(1, 50))
        self.builder.put(value)

    def remove_slice(self) -> None:
        self.builder.remove("EndpointSlice", f"{self.key()}-{self.random.choice('st')}")

    def put_endpoints(self) -> None:
        space, name = self.key().split("/")
        meta: Json = {"name": name, "namespace": space, "uid": f"ep-{space}-{name}"}
        if self.random.randrange(2):
            meta |= {"labels": {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}}
        subsets = [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": self.random.randint(1, 9)}]}]
        self.builder.put({"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": subsets})

    def put_pod(self) -> None:
        random = self.random
        labels = {"app": random.choice(NAMES), "tier": random.choice(("front", "back")), "hash": str(random.random())}
        ports = random.choice(((), [{"name": "web", "containerPort": random.choice((8080, 8081))}]))
        place = random.choice((*NODES, "node-3", ""))
        value = pod(self.pod_key(), self.address() if place else "", labels=labels, node=place, ports=ports)
        spec, meta = value["spec"], value["metadata"]
        if not place:
            value["status"] = {"phase": "Pending"}
        container = spec["containers"][0]
        if random.randrange(3) == 0:
            container["envFrom"] = [random.choice(({"configMapRef": {"name": "c"}}, {"secretRef": {"name": "c"}}))]
        if random.randrange(4) == 0:
            spec["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
            container["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
        if random.randrange(5) == 0:
            meta["deletionTimestamp"] = random.choice(("2027-01-15T07:59:00Z", "2027-01-15T09:00:00Z"))
        if random.randrange(6) == 0:
            meta["ownerReferences"] = [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "r",
                    "uid": f"rs-{meta['namespace']}",
                    "controller": True,
                }
            ]
        if random.randrange(8) == 0:
            spec["hostNetwork"] = True
        if random.randrange(6) == 0:
            value["status"]["phase"] = random.choice(("Succeeded", "Pending"))
        self.builder.put(value)

    def remove_pod(self) -> None:
        self.builder.remove("Pod", self.pod_key())

    def put_node(self) -> None:
        random = self.random
        name, zone = random.choice(NODES), random.choice("ab")
        addresses = random.choice((("10.89.0.10",), ("10.89.0.10",), ()))
        self.builder.put(node(name, *addresses, zone=zone))

    def put_policy(self) -> None:
        made = generate_cluster(self.random.randrange(1000))
        values = [value for value in made if value["kind"] == "NetworkPolicy"]
        value = self.random.choice(values)
        value["metadata"]["namespace"] = self.random.choice(SPACES)
        value["metadata"]["name"] = f"np{self.random.randrange(3)}"
        self.builder.put(self.random.choice((value, policy(f"{value['metadata']['namespace']}/np0"))))

    def remove_policy(self) -> None:
        self.builder.remove("NetworkPolicy", f"{self.random.choice(SPACES)}/np{self.random.randrange(3)}")

    def put_config(self) -> None:
        kind = self.random.choice(("ConfigMap", "Secret", "PersistentVolumeClaim"))
        name = self.random.choice(("c", "kube-root-ca.crt"))
        space = self.random.choice(SPACES)
        meta = {"name": name, "namespace": space, "uid": f"{kind}-{space}-{name}"}
        value: Json = {"apiVersion": "v1", "kind": kind, "metadata": meta}
        if kind == "PersistentVolumeClaim":
            value["spec"] = {"volumeName": self.random.choice(("", "pv")), "accessModes": ["ReadWriteOnce"]}
        else:
            value["data"] = {"k": self.random.choice(("YQ==", "Yg=="))}
        self.builder.put(value)

    def remove_config(self) -> None:
        self.builder.remove(self.random.choice(("ConfigMap", "Secret")), f"{self.random.choice(SPACES)}/c")

    def put_volume(self) -> None:
        space = self.random.choice(SPACES)
        claim = {"namespace": space, "name": "c", "uid": f"PersistentVolumeClaim-{space}-c"}
        spec = {"claimRef": claim, "hostPath": {"path": self.random.choice(("/x", "/y"))}}
        self.builder.put(
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv", "uid": "pv"}, "spec": spec}
        )

    def put_namespace(self) -> None:
        self.builder.put(namespace(self.random.choice((*SPACES, "c")), team=self.random.choice("xyz")))

    def put_workload(self) -> None:
        space = self.random.choice(SPACES)
        meta = {"name": "r", "namespace": space, "uid": f"rs-{space}"}
        template = {"metadata": {"labels": {"app": "red"}}, "spec": {"containers": [{"name": "m", "image": "x"}]}}
        spec = {
            "replicas": self.random.randint(0, 2),
            "selector": {"matchLabels": {"app": "red"}},
            "template": template,
        }
        self.builder.put({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta, "spec": spec})

    def put_ingress(self) -> None:
        space, name = self.key().split("/")
        backend = {"service": {"name": self.random.choice(NAMES), "port": {"number": 80}}}
        rule = {
            "host": f"{name}.example",
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
        }
        self.builder.put(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": {"name": name, "namespace": space, "uid": f"in-{space}-{name}"},
                "spec": {"ingressClassName": "nginx", "rules": [rule]},
            }
        )

    def put_corefile(self) -> None:
        mode = self.random.choice(("insecure", "verified", "disabled"))
        more = self.random.choice(("", "ignore empty_service", "noendpoints", "namespaces a", "labels app=red"))
        text = f".:53 {{\n kubernetes cluster.local in-addr.arpa {{\n  pods {mode}\n  {more}\n }}\n}}\n"
        meta = {"name": "coredns", "namespace": "kube-system", "uid": "coredns"}
        if self.random.randrange(4) == 0:
            self.builder.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": text}})

    def report(self, key: str, fact: Fact) -> None:
        self.builder.observe(key, fact)

    def report_pod(self) -> None:
        random, key = self.random, self.pod_key()
        uid = f"pod-{key.replace('/', '-')}"
        state: Any = random.choice(("waiting", "running", "terminated"))
        containers = (ContainerFact("main", state, ready=bool(random.randrange(2)), started=True),)
        addresses = random.choice(((), (self.address(),)))
        self.report(uid, PodFact(uid, "node-1", addresses, containers, gone=random.randrange(5) == 0))

    def report_node(self) -> None:
        self.report(self.random.choice(NODES), NodeFact(bool(self.random.randrange(3))))

    def report_plane(self) -> None:
        random = self.random
        applied = {f"pod-{space}-p{n}": "x" for space in SPACES for n in range(4) if random.randrange(2)}
        plane = random.choice(("nft/node-1", "nft/node-2", "dns", "envoy/ingress-nginx/ingress-nginx-controller"))
        rejected = random.choice(({}, {}, {"pod-a-p1": "no"})) if plane.startswith("nft") else {}
        self.report(plane, PlaneFact(bool(random.randrange(3)), applied, rejected))

    def report_event(self) -> None:
        space, name = self.pod_key().split("/")
        uid = f"pod-{space}-{name}"
        event = EventFact(
            "Pod", space, name, uid, "Normal", "Pulled", "image", "kubelet", NOW - self.random.randint(0, 9)
        )
        self.report(uid, event)


def check(found: Plans, fresh: Plans) -> None:
    assert format_plans(found) == format_plans(fresh)
    for field in found.__struct_fields__:
        one, two = getattr(found, field), getattr(fresh, field)
        assert one == two, field
        for name in getattr(two, "__struct_fields__", ()):
            if isinstance(getattr(two, name), dict):
                assert list(getattr(one, name)) == list(getattr(two, name)), (field, name)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_the_same_plans_as_without_memory(seed: int, planes: bool) -> None:
    world, compiler = World(seed, planes=planes), Compiler()
    for _ in range(25):
        world.change()
        seen = world.builder.snapshot(NOW)
        if world.random.randrange(4):  # else a snapshot that nobody compiles
            check(compiler.compile(seen).plans, Compiler().compile(seen).plans)


@pytest.mark.parametrize("seed", range(5))
def test_plans_that_did_not_change_are_the_same_objects(seed: int) -> None:
    """What drivers rely on: a unit that is equal is the same one, and so is a plan made of the same units."""
    world, compiler = World(seed, planes=True), Compiler()
    before: Plans | None = None
    for _ in range(40):
        world.change()
        after = compiler.compile(world.builder.snapshot(NOW)).plans
        for plan, table in (("services", "ports"), ("policy", "pods"), ("zone", "units"), ("nodes", "pods")):
            old, new = (getattr(getattr(plans or after, plan), table) for plans in (before, after))
            assert all(old.get(key) != new.get(key) for key in differences(old, new)), plan
        again = compiler.compile(world.builder.snapshot(NOW)).plans
        assert [n for n in after.__struct_fields__ if getattr(again, n) is not getattr(after, n)] == []
        before = after
