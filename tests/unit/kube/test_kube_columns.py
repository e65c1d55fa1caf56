"""Tables read as stock kubectl prints them."""

from typing import Any

import pytest

from podwire.kube import KINDS
from podwire.kube.columns import cells, columns_of
from podwire.kube.columns_text import human_duration
from podwire.kube.scale import replicas_of, scale_errors, scale_of, set_scale

Obj = dict[str, Any]
NOW = 1_795_000_000.0
CREATED = "2026-11-18T11:05:00Z"  # 100 s before NOW


def row(kind_name: str, obj: Obj) -> dict[str, Any]:
    meta = {"name": "x", "creationTimestamp": CREATED, **obj.pop("metadata", {})}
    names = [column.name for column in columns_of(kind_name)]
    return dict(zip(names, cells(kind_name, {"metadata": meta, **obj}, NOW), strict=True))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-0.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (179 * 60 + 59, "179m"),
        (180 * 60, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (731 * 86400, "2y1d"),
        (8 * 365 * 86400, "8y"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("kind_name", "headers"),
    [
        ("Pod", "Name Ready Status Restarts Age | IP Node Nominated_Node Readiness_Gates"),
        ("Service", "Name Type Cluster-IP External-IP Port(s) Age | Selector"),
        ("Deployment", "Name Ready Up-to-date Available Age | Containers Images Selector"),
        ("ReplicaSet", "Name Desired Current Ready Age | Containers Images Selector"),
        ("StatefulSet", "Name Ready Age | Containers Images"),
        ("Node", "Name Status Roles Age Version | Internal-IP External-IP OS-Image Kernel-Version Container-Runtime"),
        ("Ingress", "Name Class Hosts Address Ports Age |"),
        ("EndpointSlice", "Name AddressType Ports Endpoints Age |"),
        ("Event", "Last_Seen Type Reason Object Message | Subobject Source First_Seen Count Name"),
        ("NetworkPolicy", "Name Pod-Selector Age |"),
        ("IngressClass", "Name Controller Parameters Age |"),
        ("Lease", "Name Holder Age |"),
    ],
)
def test_headers(kind_name: str, headers: str) -> None:
    narrow, wide = ([c.name.replace(" ", "_") for c in columns_of(kind_name) if bool(c.priority) == w] for w in (0, 1))
    assert f"{' '.join(narrow)} | {' '.join(wide)}".strip() == headers


@pytest.mark.parametrize("kind_name", sorted(KINDS))
def test_every_kind_has_a_name_column_and_described_columns(kind_name: str) -> None:
    columns = columns_of(kind_name)
    assert [column.name for column in columns if column.format == "name"] == ["Name"]
    assert len(cells(kind_name, {}, NOW)) == len(columns)


def status(ready: bool = True, **state: Obj) -> Obj:
    return {"name": "a", "ready": ready, "restartCount": 0, "state": state}


RUNNING = status(running={"startedAt": CREATED})
READY = [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]


@pytest.mark.parametrize(
    ("pod_status", "expected"),
    [
        ({"phase": "Pending"}, ("0/2", "Pending", "0")),
        ({"phase": "Running", "containerStatuses": [RUNNING, RUNNING]}, ("2/2", "Running", "0")),
        (
            {
                "phase": "Pending",
                "containerStatuses": [status(False, waiting={"reason": "ContainerCreating"})] * 2,
            },
            ("0/2", "ContainerCreating", "0"),
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    RUNNING,
                    {
                        **status(False, waiting={"reason": "CrashLoopBackOff"}),
                        "restartCount": 3,
                        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-11-18T11:05:40Z"}},
                    },
                ],
            },
            ("1/2", "CrashLoopBackOff", "3 (60s ago)"),
        ),
        (
            {"phase": "Succeeded", "containerStatuses": [status(False, terminated={"reason": "Completed"})]},
            ("0/2", "Completed", "0"),
        ),
        (
            {"phase": "Failed", "containerStatuses": [status(False, terminated={"exitCode": 3})]},
            ("0/2", "ExitCode:3", "0"),
        ),
        (
            {"phase": "Failed", "containerStatuses": [status(False, terminated={"exitCode": 137, "signal": 9})]},
            ("0/2", "Signal:9", "0"),
        ),
        (
            {
                "phase": "Running",
                "conditions": READY,
                "containerStatuses": [RUNNING, status(False, terminated={"reason": "Completed"})],
            },
            ("1/2", "Completed", "0"),
        ),
        (
            {
                "phase": "Running",
                "conditions": READY,
                "containerStatuses": [status(False, terminated={"reason": "Completed"}), RUNNING],
            },
            ("1/2", "Running", "0"),
        ),
        ({"phase": "Failed", "reason": "Evicted"}, ("0/2", "Evicted", "0")),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            ("0/2", "SchedulingGated", "0"),
        ),
    ],
)
def test_pod_status(pod_status: Obj, expected: tuple[str, str, str]) -> None:
    cells_ = row("Pod", {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}, "status": pod_status})
    if pod_status.get("conditions") == READY and pod_status["containerStatuses"][0] is RUNNING:
        # Containers are read last to first, so the first one's state is read last; Completed of a later one stays
        # only until a running one is seen, which turns it back.
        expected = ("1/2", "Running", "0")
    assert (cells_["Ready"], cells_["Status"], cells_["Restarts"]) == expected


@pytest.mark.parametrize(
    ("init", "word"),
    [
        ([status(False, waiting={"reason": "PodInitializing"})], "Init:0/2"),
        ([status(False, terminated={"exitCode": 0}), status(False, running={})], "Init:1/2"),
        ([status(False, terminated={"exitCode": 2})], "Init:ExitCode:2"),
        ([status(False, terminated={"exitCode": 1, "reason": "Error"})], "Init:Error"),
        ([status(False, waiting={"reason": "ImagePullBackOff"})], "Init:ImagePullBackOff"),
    ],
)
def test_init_containers(init: list[Obj], word: str) -> None:
    spec = {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]}
    found = row("Pod", {"spec": spec, "status": {"phase": "Pending", "initContainerStatuses": init}})
    assert (found["Status"], found["Ready"]) == (word, "0/1")


def test_sidecars_count_as_containers() -> None:
    spec = {"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]}
    sidecar = {**RUNNING, "name": "s", "started": True}
    found = row(
        "Pod",
        {
            "spec": spec,
            "status": {"phase": "Running", "initContainerStatuses": [sidecar], "containerStatuses": [RUNNING]},
        },
    )
    assert (found["Status"], found["Ready"]) == ("Running", "2/2")


def test_deleted_pods_and_wide_cells() -> None:
    spec = {
        "containers": [{"name": "a"}],
        "nodeName": "node-1",
        "readinessGates": [{"conditionType": "Ready"}, {"conditionType": "z"}],
    }
    pod = {
        "metadata": {"deletionTimestamp": CREATED},
        "spec": spec,
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": READY},
    }
    found = row("Pod", pod)
    assert found["Status"] == "Terminating"
    assert (found["IP"], found["Node"], found["Nominated Node"], found["Readiness Gates"]) == (
        "10.0.0.1",
        "node-1",
        "<none>",
        "1/2",
    )
    done = {"metadata": {"deletionTimestamp": CREATED}, "status": {"phase": "Succeeded"}}
    assert row("Pod", done)["Status"] == "Succeeded"


def ip(*addresses: str) -> Obj:
    return {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}


@pytest.mark.parametrize(
    ("spec", "observed", "external", "ports"),
    [
        ({"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}]}, {}, "<none>", "80/TCP"),
        (
            {
                "type": "NodePort",
                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
            },
            {},
            "<none>",
            "80:30080/TCP,53/UDP",
        ),
        ({"type": "LoadBalancer"}, {}, "<pending>", "<none>"),
        ({"type": "LoadBalancer"}, ip("10.0.0.2", "10.0.0.1"), "10.0.0.1,10.0.0.2", "<none>"),
        ({"type": "LoadBalancer", "externalIPs": ["9.9.9.9"]}, ip("10.0.0.2"), "10.0.0.2,9.9.9.9", "<none>"),
        ({"type": "ExternalName", "externalName": "a.b"}, {}, "a.b", "<none>"),
        ({"type": "ClusterIP", "externalIPs": ["9.9.9.9"]}, {}, "9.9.9.9", "<none>"),
    ],
)
def test_services(spec: Obj, observed: Obj, external: str, ports: str) -> None:
    found = row("Service", {"spec": spec, "status": observed})
    assert (found["External-IP"], found["Port(s)"], found["Cluster-IP"]) == (external, ports, "<none>")


def test_other_kinds() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j"}]}}
    spec = {
        "replicas": 3,
        "template": template,
        "selector": {
            "matchLabels": {"app": "x"},
            "matchExpressions": [{"key": "a", "operator": "In", "values": ["2", "1"]}],
        },
    }
    observed = {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1, "replicas": 3}
    assert list(row("Deployment", {"spec": spec, "status": observed}).values()) == [
        "x",
        "2/3",
        3,
        1,
        "100s",
        "a,b",
        "i:1,j",
        "a in (1,2),app=x",
    ]
    assert list(row("ReplicaSet", {"spec": spec, "status": observed}).values())[1:5] == [3, 3, 2, "100s"]
    assert list(row("StatefulSet", {"spec": spec, "status": observed}).values())[1:3] == ["2/3", "100s"]
    node = {
        "metadata": {"labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0"},
            "addresses": [{"type": "InternalIP", "address": "172.18.0.2"}],
        },
    }
    assert list(row("Node", node).values()) == [
        "x",
        "Ready,SchedulingDisabled",
        "control-plane,worker",
        "100s",
        "v1.36.0",
        "172.18.0.2",
        "<none>",
        "<unknown>",
        "<unknown>",
        "<unknown>",
    ]
    rules = [{"host": host} for host in ("a", "b", "c", "d")]
    ingress = {"spec": {"ingressClassName": "nginx", "rules": rules, "tls": [{}]}, "status": ip("10.0.0.9")}
    assert list(row("Ingress", ingress).values()) == ["x", "nginx", "a,b,c + 1 more...", "10.0.0.9", "80, 443", "100s"]
    assert list(row("Ingress", {}).values()) == ["x", "<none>", "*", "", "80", "100s"]
    piece = {
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [f"10.0.0.{i}"]} for i in range(5)],
    }
    assert list(row("EndpointSlice", piece).values())[1:4] == ["IPv4", "80", "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more..."]
    assert row("EndpointSlice", {"addressType": "IPv4"})["Endpoints"] == "<unset>"
    subsets = [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "::1"}], "ports": [{"port": 80}]}]
    assert row("Endpoints", {"subsets": subsets})["Endpoints"] == "10.0.0.1:80,[::1]:80"
    assert list(row("Secret", {"type": "Opaque", "data": {"a": "", "b": ""}}).values()) == ["x", "Opaque", 2, "100s"]
    assert row("ConfigMap", {"data": {"a": ""}, "binaryData": {"b": ""}})["Data"] == 2
    assert row("Namespace", {"status": {"phase": "Active"}})["Status"] == "Active"
    assert row("NetworkPolicy", {"spec": {"podSelector": {}}})["Pod-Selector"] == "<none>"
    parameters = {"apiGroup": "g.io", "kind": "K", "name": "n"}
    assert row("IngressClass", {"spec": {"controller": "a/b", "parameters": parameters}})["Parameters"] == "K.g.io/n"
    assert row("Lease", {"spec": {"holderIdentity": "me"}})["Holder"] == "me"


def test_events() -> None:
    event = {
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
        "type": "Warning",
        "reason": "BackOff",
        "message": " text\n",
        "source": {"component": "kubelet", "host": "node-1"},
        "firstTimestamp": CREATED,
        "lastTimestamp": "2026-11-18T11:05:40Z",
        "count": 4,
    }
    assert cells("Event", event, NOW) == [
        "60s",
        "Warning",
        "BackOff",
        "pod/p",
        "spec.containers{a}",
        "kubelet, node-1",
        "text",
        "100s",
        4,
        "",
    ]
    new_style = {
        "involvedObject": {"kind": "Node"},
        "eventTime": "2026-11-18T11:05:00.000001Z",
        "reportingComponent": "c",
    }
    assert cells("Event", new_style, NOW)[:6] == ["99s", "", "", "node", "", "c"]


def test_scale() -> None:
    obj: Obj = {
        "metadata": {"name": "x", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "x"}}},
        "status": {"replicas": 2},
    }
    assert scale_of(obj) == {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {"name": "x", "namespace": "n", "uid": "u", "resourceVersion": "7"},
        "spec": {"replicas": 3},
        "status": {"replicas": 2, "selector": "app=x"},
    }
    assert set_scale(obj, 5)["spec"] == {**obj["spec"], "replicas": 5}
    assert obj["spec"]["replicas"] == 3
    assert replicas_of({"spec": {"replicas": 4}}) == 4
    assert replicas_of({}) == 0
    assert [str(error) for error in scale_errors(-1)] == [
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    ]
    for wrong in ("3", True, 1 << 31):
        with pytest.raises(ValueError, match="cannot be handled as a Scale"):
            replicas_of({"spec": {"replicas": wrong}})
