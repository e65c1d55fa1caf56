"""Whatever is sent, the answer is an object or a Status: never a bug of ours. And watches always add up."""

import asyncio
import copy
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podwire.apiserver.history import Change
from podwire.apiserver.http.broadcast import seen_as
from podwire.apiserver.patching import By, apply_patch
from podwire.apiserver.status import StatusError
from podwire.apiserver.store import Store
from podwire.apiserver.verbs import WriteOptions
from podwire.kube.registry import KINDS

Json = dict[str, Any]

CONTAINER = {
    "name": "a",
    "image": "a:1",
    "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}],
    "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
    "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    "resources": {"requests": {"cpu": "100m"}},
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
}
POD_SPEC = {"containers": [CONTAINER], "volumes": [{"name": "v", "configMap": {"name": "c"}}], "hostAliases": []}
TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": POD_SPEC}
SELECTOR = {"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]}
WORKLOAD = {"replicas": 1, "selector": SELECTOR, "template": TEMPLATE}
BACKEND = {"service": {"name": "s", "port": {"number": 80}}}
PATH = {"path": "/", "pathType": "Prefix", "backend": BACKEND}
BLOCK = {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}


def thing(kind: str, version: str, **parts: Any) -> Json:
    meta = {"name": "x", "labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["example.com/f"]}
    return {"apiVersion": version, "kind": kind, "metadata": meta, **parts}


SAMPLES = [
    thing("Pod", "v1", spec=POD_SPEC, status={"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
    thing("Deployment", "apps/v1", spec=WORKLOAD | {"strategy": {"rollingUpdate": {"maxSurge": "25%"}}}),
    thing("StatefulSet", "apps/v1", spec=WORKLOAD | {"serviceName": "s"}),
    thing("ReplicaSet", "apps/v1", spec=WORKLOAD),
    thing(
        "Service",
        "v1",
        spec={
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "ports": [{"name": "p", "port": 80, "targetPort": "http", "nodePort": 30001, "protocol": "TCP"}],
            "clusterIP": "10.96.0.9",
            "clusterIPs": ["10.96.0.9"],
            "ipFamilies": ["IPv4"],
            "selector": {"a": "b"},
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}},
            "healthCheckNodePort": 30002,
        },
        status={"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}},
    ),
    thing(
        "Ingress",
        "networking.k8s.io/v1",
        spec={
            "defaultBackend": BACKEND,
            "tls": [{"hosts": ["a.example"], "secretName": "t"}],
            "rules": [
                {"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}}
            ],
        },
    ),
    thing(
        "NetworkPolicy",
        "networking.k8s.io/v1",
        spec={
            "podSelector": SELECTOR,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80}]}
            ],
        },
    ),
    thing(
        "EndpointSlice",
        "discovery.k8s.io/v1",
        addressType="IPv4",
        endpoints=[{"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "hints": {"forZones": [{"name": "a"}]}}],
        ports=[{"name": "p", "port": 80, "protocol": "TCP"}],
    ),
    thing("Endpoints", "v1", subsets=[{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]),
    thing("Secret", "v1", data={"a": "Yg=="}, stringData={"c": "d"}, type="Opaque"),
    thing("ConfigMap", "v1", data={"a": "b"}, binaryData={"c": "Yg=="}),
    thing("Node", "v1", spec={"podCIDR": "10.244.0.0/24", "taints": [{"key": "k", "effect": "NoSchedule"}]}),
    thing("Namespace", "v1", spec={"finalizers": ["kubernetes"]}),
]

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=8),
    st.just("x" * 300), st.sampled_from(["None", "0.0.0.0", "::1", "10.96.0.1", "80", "*.a", "/", "$patch"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, found: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found, *(path for key, child in below for path in paths(child, (*found, key)))]


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[Json, Json]:
    """A valid object, and the same with up to three parts replaced or removed."""
    sample = draw(st.sampled_from(SAMPLES))
    value = copy.deepcopy(sample)
    for _ in range(draw(st.integers(1, 3))):
        places = [path for path in paths(value) if path and path[0] not in ("kind", "apiVersion")]
        if not places:
            break
        *above, last = draw(st.sampled_from(places))
        node: Any = value
        for step in above:
            node = node[step]
        if draw(st.booleans()):
            node[last] = draw(VALUES)
        elif isinstance(node, dict):
            del node[last]
    return sample, value


def attempt(call: Any, *args: Any, **more: Any) -> None:
    try:
        call(*args, **more)
    except StatusError as error:
        assert 400 <= error.code < 500, (error.code, str(error))
        assert error.status["message"]


@given(spoiled())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_spoiled_objects_are_stored_or_refused(kit: Any, case: tuple[Json, Json]) -> None:
    sample, value = case

    async def body(bench: Any) -> None:
        kind = KINDS[sample["kind"]]
        namespace = "default" if kind.namespaced else ""
        for validation in ("Strict", "Warn"):
            how = WriteOptions(manager="m", field_validation=validation)
            attempt(bench.verbs.create, kind, namespace, copy.deepcopy(value), how)
        attempt(bench.verbs.create, kind, namespace, copy.deepcopy(sample), how)
        for subresource in ("", *(s for s in kind.subresources if s in ("status", "finalize"))):
            sent = copy.deepcopy(value)
            attempt(bench.verbs.update, kind, namespace, sent, how, name="x", subresource=subresource)

    kit.run(body)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", None])), max_size=30), st.sampled_from("xy")
)
@settings(max_examples=60, deadline=None)
def test_a_selective_watch_adds_up_from_every_revision(steps: list[tuple[str, str | None]], wanted: str) -> None:
    def chosen(value: Json) -> bool:
        return bool(value["metadata"]["labels"]["tier"] == wanted)

    def follow(state: dict[str, Any], changes: list[Change]) -> dict[str, Any]:
        for change in changes:
            seen = seen_as(change, chosen)
            if seen == "DELETED":
                del state[change.key]
            elif seen is not None:
                assert (seen == "ADDED") == (change.key not in state)
                state[change.key] = change.item.rv
        return state

    async def body() -> None:
        store = Store.open(None)
        feed = store.follow(None)
        for name, tier in steps:
            if tier is not None:
                store.put("Pod", name, {"metadata": {"name": name, "labels": {"tier": tier}}})
            elif store.head("Pod", name):
                store.remove("Pod", name)
        await store.settled(store.head_rv)
        final = {key: item.rv for key, item in store.items("Pod") if chosen(item.value)}
        assert follow({}, feed.take()) == final
        for rv in range(store.history.oldest, store.rv + 1):
            then = {key: item.rv for key, item in store.items_at("Pod", rv) if chosen(item.value)}
            assert follow(then, list(store.history.after(rv, None))) == final

    asyncio.run(body())


@given(VALUES, st.sampled_from(["application/merge-patch+json", "application/strategic-merge-patch+json"]))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_hostile_patches(kit: Any, patch: Any, media: str) -> None:
    async def body(bench: Any) -> None:
        made = bench.create(SAMPLES[1] | {"metadata": {"name": "x"}})
        by = By(manager="m", subresource="", now="2026-01-01T00:00:00Z")
        for sent in (patch, {"spec": patch}, {"spec": {"template": {"spec": {"containers": patch}}}}):
            try:
                body_bytes = msgspec.json.encode(sent)
            except (OverflowError, msgspec.MsgspecError):
                continue
            attempt(apply_patch, "Deployment", media, body_bytes, current=made, by=by)

    kit.run(body)
