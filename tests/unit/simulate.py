"""A tiny API and a tiny node runtime in memory: what the loop does, in pure Python, until nothing changes."""

import copy
from collections.abc import Callable
from typing import Any

from podwire.base import Ref
from podwire.compile import Compiled, Compiler, compile_plans
from podwire.kube import KINDS
from podwire.kube.defaults import default_object
from podwire.kube.jobs import identify_job
from podwire.plan import Bind, ContainerFact, Create, Merge, NodeFact, PlaneFact, Plans, PodFact, Remove, Replace, Write
from podwire.plan.node import Pod as PodUnit
from podwire.snapshot import Owned, Settings, Snapshot, SnapshotBuilder

Json = dict[str, Any]
START = 1_800_000_000.0


class Conflict(Exception):
    """The object changed since the decision."""


class World:
    """Objects by (kind, key), a compiler, and pods that run as soon as they may."""

    def __init__(self, settings: Settings | None = None, *, nodes: int = 2) -> None:
        self.settings = settings or Settings(planes=False)
        self.builder = SnapshotBuilder(self.settings)
        self.compiler = Compiler()
        self.objects: dict[tuple[str, str], Json] = {}
        self.now = START
        self.revision = 0
        self.log: list[str] = []
        self.unready: set[str] = set()
        self.hold_gone = False
        self.exits: Callable[[str], int | None] = lambda name: None
        self.ran: dict[str, PodUnit] = {}
        self.endings: dict[str, float] = {}
        self.addresses: dict[str, str] = {}
        self.compiled: Compiled | None = None
        for name in ("default", "kube-system"):
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for index in range(nodes):
            self.apply(node(f"node-{index + 1}", index))
            self.builder.observe(f"node-{index + 1}", NodeFact(True))

    # the API

    def apply(self, value: Json) -> Json:
        meta = value["metadata"]
        namespaced = KINDS[value["kind"]].namespaced
        if namespaced:
            meta.setdefault("namespace", "default")
        key = f"{meta['namespace']}/{meta['name']}" if namespaced else meta["name"]
        old = self.objects.get((value["kind"], key))
        made = copy.deepcopy(value)
        if old is None:
            made["metadata"] |= {"uid": f"uid-{self.revision}", "generation": 1, "creationTimestamp": stamp(self.now)}
            made = default_object(identify_job(made) if made["kind"] == "Job" else made)
        else:
            made = default_object(made)
            kept = {k: v for k, v in old["metadata"].items() if k not in made["metadata"]}
            made["metadata"] |= kept
            if made.get("spec") != old.get("spec"):
                made["metadata"]["generation"] = old["metadata"]["generation"] + 1
            if "status" in old:
                made["status"] = old["status"]
        return self._store(value["kind"], key, made)

    def _store(self, kind: str, key: str, value: Json) -> Json:
        self.revision += 1
        value["metadata"]["resourceVersion"] = str(self.revision)
        self.objects[kind, key] = value
        self.builder.put(value)
        return value

    def get(self, kind: str, name: str, namespace: str = "default") -> Json:
        return self.objects[kind, f"{namespace}/{name}" if namespace else name]

    def all(self, kind: str) -> list[Json]:
        return [v for (k, _), v in sorted(self.objects.items()) if k == kind]

    def edit(self, kind: str, name: str, change: Callable[[Json], None]) -> None:
        value = copy.deepcopy(self.get(kind, name))
        change(value)
        self.apply(value)

    def edit_node(self, name: str, *, status: Json | None = None, **spec: Any) -> None:
        value = copy.deepcopy(self.get("Node", name, ""))
        value["spec"] |= spec
        value["status"] |= status or {}
        self._store("Node", name, value)

    def delete(self, kind: str, name: str, namespace: str = "default", *, grace: int | None = None) -> None:
        key = f"{namespace}/{name}" if namespace else name
        value = self.objects.get((kind, key))
        if value is None:
            return
        if kind == "Pod" and value["spec"].get("nodeName") and grace != 0:
            if "deletionTimestamp" not in value["metadata"]:
                value = copy.deepcopy(value)
                value["metadata"] |= {"deletionTimestamp": stamp(self.now + 30), "deletionGracePeriodSeconds": 30}
                self._store(kind, key, value)
            return
        if value["metadata"].get("finalizers"):
            value = copy.deepcopy(value)
            value["metadata"] |= {"deletionTimestamp": stamp(self.now), "deletionGracePeriodSeconds": 0}
            self._store(kind, key, value)
            return
        del self.objects[kind, key]
        self.builder.remove(kind, key)
        uid = value["metadata"]["uid"]
        for (k, owned), other in list(self.objects.items()):
            if any(o["uid"] == uid for o in other["metadata"].get("ownerReferences", ())):
                self.delete(k, owned.rpartition("/")[2], owned.rpartition("/")[0])

    def write(self, write: Write) -> None:
        kind, key = write.ref.kind, write.ref.key
        known = self.objects.get((kind, key))
        if isinstance(write, Create):
            if known is None:
                body = {k: v for k, v in write.body.items() if k != "status"}
                self.apply(copy.deepcopy(body))
            return
        if known is None:
            return
        value = copy.deepcopy(known)
        match write:
            case Bind():
                value["spec"]["nodeName"] = write.node
                self._store(kind, key, value)
            case Remove():
                assert value["metadata"]["uid"] == write.uid
                self.delete(kind, write.ref.name, write.ref.namespace, grace=write.grace_seconds)
            case Merge():
                if write.based_on and write.based_on != value["metadata"]["resourceVersion"]:
                    raise Conflict(key)
                before = copy.deepcopy(value.get("spec"))
                merge(value, write.patch)
                if value.get("spec") != before:
                    value["metadata"]["generation"] += 1
                self._store(kind, key, default_object(value))
                meta = value["metadata"]
                if meta.get("deletionTimestamp") and not meta.get("finalizers") and "nodeName" not in value["spec"]:
                    self.delete(kind, write.ref.name, write.ref.namespace, grace=0)
            case Replace():
                if write.body["metadata"].get("resourceVersion") != value["metadata"]["resourceVersion"]:
                    raise Conflict(key)
                fresh = copy.deepcopy(write.body)
                fresh["metadata"] = {**value["metadata"], **fresh["metadata"]}
                self._store(kind, key, default_object(fresh))

    # the loop

    def snapshot(self) -> Snapshot:
        return self.builder.snapshot(self.now)

    def compile(self) -> Plans:
        self.compiled = self.compiler.compile(self.snapshot())
        return self.compiled.plans

    def step(self) -> int:
        """One round: compile, write everything, let the nodes act. Returns the number of writes."""
        plans = self.compile()
        for key, write in plans.writes.writes.items():
            self.log.append(key)
            try:
                self.write(write)
            except Conflict:
                self.log.append(f"conflict {key}")
        self.run_nodes(plans)
        return len(plans.writes.writes)

    def settle(self, *, limit: int = 60) -> int:
        """Rounds until a compile asks for nothing and nothing observed changed."""
        for round_number in range(limit):
            before = self.builder.snapshot(self.now).facts
            if self.step() == 0 and self.builder.snapshot(self.now).facts == before:
                left = compile_plans(self.snapshot()).writes.writes
                assert not left, f"the memo hides {list(left)}"
                return round_number
        pending = {k: str(w)[:300] for k, w in self.compile().writes.writes.items()}
        raise AssertionError(f"does not converge: {pending}")

    def run_nodes(self, plans: Plans) -> None:
        for unit in plans.nodes.pods.values():
            address = self.addresses.setdefault(
                unit.uid, f"10.244.{len(self.addresses) // 250}.{len(self.addresses) % 250 + 2}"
            )
            self.ran[unit.uid] = unit
            if unit.terminating:
                if not self.hold_gone:
                    self.builder.observe(unit.uid, PodFact(unit.uid, unit.node, gone=True))
                continue
            ready = unit.run and unit.pod.name not in self.unready
            code = self.exits(unit.pod.name) if unit.run else None
            facts = tuple(
                ContainerFact(c.name, "terminated", exit_code=code, started_at=START, finished_at=self.ended(unit.uid))
                if code is not None
                else ContainerFact(c.name, "running", ready=ready, started=True, started_at=START)
                if unit.run
                else ContainerFact(c.name, "waiting", reason="ContainerCreating")
                for c in unit.containers
            )
            self.builder.observe(unit.uid, PodFact(unit.uid, unit.node, (address,), facts, started_at=START))
        for uid, unit in list(self.ran.items()):
            if all(p.uid != uid for p in plans.nodes.pods.values()):
                self.builder.observe(uid, PodFact(uid, unit.node, gone=True))
                del self.ran[uid]

    def ended(self, uid: str) -> float:
        """When a container ended: the first time somebody asked."""
        return self.endings.setdefault(uid, self.now)

    def plane(self, name: str, fact: PlaneFact) -> None:
        self.builder.observe(name, fact)

    def pods(self) -> list[str]:
        return [p["metadata"]["name"] for p in self.all("Pod")]


def quiet(*, nodes: int = 2) -> World:
    """A world in which nothing wakes the loop to write Events."""
    return World(Settings(planes=False, owned=Owned(events=False)), nodes=nodes)


def merge(target: Json, patch: Json) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            inner = target.get(key)
            if not isinstance(inner, dict):
                inner = target[key] = {}
            merge(inner, value)
        else:
            target[key] = copy.deepcopy(value)


def stamp(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node(name: str, index: int = 0, **labels: str) -> Json:
    zone = "ab"[index % 2]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone, **labels}},
        "spec": {"podCIDR": f"10.244.{index}.0/24"},
        "status": {"addresses": [{"type": "InternalIP", "address": f"10.89.0.{10 + index}"}]},
    }


def template(app: str, **spec: Any) -> Json:
    container = {"name": "main", "image": f"example.com/{app}:1", "ports": [{"name": "http", "containerPort": 8080}]}
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], **spec}}


def deployment(name: str, replicas: int, **spec: Any) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name),
            **spec,
        },
    }


def stateful_set(name: str, replicas: int, **spec: Any) -> Json:
    value = deployment(name, replicas, serviceName=name, **spec)
    return {**value, "kind": "StatefulSet"}


def daemon_set(name: str, **spec: Any) -> Json:
    value = deployment(name, 0, **spec)
    del value["spec"]["replicas"]
    return {**value, "kind": "DaemonSet"}


def job(name: str, **spec: Any) -> Json:
    inner = template(name, restartPolicy="Never")
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": inner, **spec}}


def service(name: str, app: str, **spec: Any) -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    fixed = {"selector": {"app": app}, "ports": ports, "clusterIP": "10.96.1.1", "ipFamilies": ["IPv4"]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {**fixed, **spec}}


def pod(name: str, **spec: Any) -> Json:
    made = template(name, **spec)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **made["metadata"]}, "spec": made["spec"]}


def ref(kind: str, name: str) -> Ref:
    return Ref(kind, "default", name)
