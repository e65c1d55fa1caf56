"""Where pods go, and what is said when they go nowhere."""

from typing import Any

from tests.unit.simulate import World, deployment, node, pod


def place(world: World, name: str) -> str:
    return str(world.get("Pod", name)["spec"].get("nodeName", ""))


def why(world: World, name: str) -> str:
    """What the filters say; what preemption adds to it has its own tests."""
    conditions = world.get("Pod", name).get("status", {}).get("conditions", ())
    said = (str(c["message"]) for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False")
    return next(said, "").partition(" preemption: ")[0]


def required(*expressions: dict[str, Any]) -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def test_pods_of_one_owner_spread_before_the_rest_is_balanced() -> None:
    world = World(nodes=3)
    world.apply(deployment("a", 3))
    world.apply(deployment("b", 6))
    world.settle()
    for app, each in (("a", 1), ("b", 2)):
        nodes = [p["spec"]["nodeName"] for p in world.all("Pod") if p["metadata"]["labels"]["app"] == app]
        assert all(nodes.count(n) == each for n in nodes)


def test_a_node_selector_is_obeyed() -> None:
    world = World()
    world.apply(pod("p", nodeSelector={"topology.kubernetes.io/zone": "b"}))
    world.settle()
    assert place(world, "p") == "node-2"


def test_an_impossible_selector_is_said_in_the_schedulers_words_and_as_an_event() -> None:
    world = World()
    world.apply(pod("p", nodeSelector={"disk": "ssd"}))
    world.settle()
    assert place(world, "p") == ""
    assert why(world, "p") == "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    (event,) = world.all("Event")
    assert (event["reason"], event["type"], event["count"]) == ("FailedScheduling", "Warning", 1)
    assert event["source"] == {"component": "default-scheduler"}


def test_a_pod_that_fits_later_is_bound_then() -> None:
    world = World()
    world.apply(pod("p", nodeSelector={"disk": "ssd"}))
    world.settle()
    world.apply(node("node-9", 5, disk="ssd"))
    world.settle()
    assert place(world, "p") == "node-9"
    assert why(world, "p") == ""


def test_taints_need_a_toleration() -> None:
    world = World(nodes=1)
    world.edit_node("node-1", taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])
    world.apply(pod("plain"))
    world.apply(pod("able", tolerations=[{"key": "gpu", "operator": "Exists"}]))
    world.settle()
    assert place(world, "able") == "node-1"
    assert why(world, "plain") == "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}."


def test_a_cordoned_node_takes_no_pods() -> None:
    world = World(nodes=1)
    world.edit_node("node-1", unschedulable=True)
    world.apply(pod("p"))
    world.settle()
    assert why(world, "p") == "0/1 nodes are available: 1 node(s) were unschedulable."


def test_node_affinity_operators() -> None:
    zone = "topology.kubernetes.io/zone"
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "in": ({"key": zone, "operator": "In", "values": ["b"]}, "node-2"),
        "notin": ({"key": zone, "operator": "NotIn", "values": ["a"]}, "node-2"),
        "exists": ({"key": "rank", "operator": "Exists"}, "node-9"),
        "gt": ({"key": "rank", "operator": "Gt", "values": ["3"]}, "node-9"),
        "lt": ({"key": "rank", "operator": "Lt", "values": ["3"]}, ""),
    }
    world = World()
    world.apply(node("node-9", 4, rank="7"))
    for name, (expression, _) in cases.items():
        world.apply(pod(name, affinity=required(expression)))
    world.settle()
    assert {name: place(world, name) for name in cases} == {name: wanted for name, (_, wanted) in cases.items()}


def test_required_anti_affinity_leaves_the_third_pod_out() -> None:
    world = World()
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "topology.kubernetes.io/zone"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    value = deployment("web", 3)
    value["spec"]["template"]["spec"]["affinity"] = affinity
    world.apply(value)
    world.settle()
    placed = sorted(p["spec"].get("nodeName", "") for p in world.all("Pod"))
    assert placed == ["", "node-1", "node-2"]
    (left,) = [p["metadata"]["name"] for p in world.all("Pod") if not p["spec"].get("nodeName")]
    assert "didn't match pod anti-affinity rules" in why(world, left)


def test_required_affinity_follows_and_the_first_of_a_group_may_start() -> None:
    world = World()
    term = {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "topology.kubernetes.io/zone"}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    world.apply(pod("a", affinity=affinity))
    world.apply(pod("b", affinity=affinity))
    world.settle()
    assert place(world, "a") == place(world, "b") != ""


def test_hard_spread_constraints_hold() -> None:
    world = World(nodes=2)
    world.apply(node("node-3", 0))
    value = deployment("web", 6)
    value["spec"]["template"]["spec"]["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
    ]
    world.apply(value)
    world.settle()
    on_b = [p for p in world.all("Pod") if p["spec"]["nodeName"] == "node-2"]
    assert len(on_b) == 3


PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
ZONE = "topology.kubernetes.io/zone"


def test_a_preferred_node_wins_although_it_is_fuller() -> None:
    world = World()
    world.apply(pod("other", nodeSelector={ZONE: "b"}))
    world.settle()
    wish = {"weight": 10, "preference": {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["b"]}]}}
    world.apply(pod("p", affinity={"nodeAffinity": {PREFERRED: [wish]}}))
    world.settle()
    assert place(world, "p") == "node-2"


def test_preferred_pod_affinity_and_anti_affinity() -> None:
    world = World()
    world.apply(pod("b", nodeSelector={ZONE: "b"}))
    world.settle()
    term = {"labelSelector": {"matchLabels": {"app": "b"}}, "topologyKey": ZONE}
    wish = {PREFERRED: [{"weight": 5, "podAffinityTerm": term}]}
    world.apply(pod("near", affinity={"podAffinity": wish}))
    world.apply(pod("far", affinity={"podAntiAffinity": wish}))
    world.settle()
    assert (place(world, "near"), place(world, "far")) == ("node-2", "node-1")


def test_anti_affinity_of_a_placed_pod_keeps_others_away() -> None:
    world = World(nodes=1)
    term = {"labelSelector": {"matchLabels": {"app": "loud"}}, "topologyKey": ZONE}
    world.apply(pod("shy", affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}))
    world.settle()
    world.apply(pod("loud"))
    world.settle()
    expected = "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
    assert why(world, "loud") == expected


def sized(name: str, **requests: str) -> dict[str, Any]:
    value = pod(name)
    value["spec"]["containers"][0]["resources"] = {"requests": requests}
    return value


def test_requests_must_fit() -> None:
    world = World()
    for name in ("node-1", "node-2"):
        world.edit_node(name, status={"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}})
    world.apply(sized("a", cpu="600m"))
    world.apply(sized("b", cpu="600m"))
    world.apply(sized("c", cpu="500m"))
    world.apply(sized("d", memory="2Gi"))
    world.apply(sized("e", **{"example.com/gpu": "1"}))
    world.settle()
    assert {place(world, "a"), place(world, "b")} == {"node-1", "node-2"}
    assert why(world, "c") == "0/2 nodes are available: 2 Insufficient cpu."
    assert why(world, "d") == "0/2 nodes are available: 2 Insufficient memory."
    assert why(world, "e") == "0/2 nodes are available: 2 Insufficient example.com/gpu."
    world.delete("Pod", "a")
    world.settle()
    assert place(world, "c") != ""


def test_priority_goes_first() -> None:
    world = World(nodes=1)
    world.edit_node("node-1", status={"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}})
    kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 100}
    world.apply(kind)
    world.apply(sized("a", cpu="1"))
    urgent = sized("b", cpu="1")
    urgent["spec"]["priorityClassName"] = "high"
    world.apply(urgent)
    world.settle()
    assert place(world, "b") == "node-1" and place(world, "a") == ""


def test_a_port_of_a_node_is_had_once() -> None:
    world = World()

    def listening(name: str, **port: Any) -> None:
        value = pod(name)
        value["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "protocol": "TCP", **port}]
        world.apply(value)
        world.settle()

    for name in ("a", "b", "c"):
        listening(name, hostPort=8080)
    assert {place(world, "a"), place(world, "b")} == {"node-1", "node-2"}
    assert why(world, "c") == "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."
    listening("udp", hostPort=8080, protocol="UDP")
    listening("address", hostPort=8080, hostIP="127.0.0.1")
    listening("other", hostPort=8081, hostIP="127.0.0.1")
    listening("same", hostPort=8081, hostIP="127.0.0.2")
    assert place(world, "udp") and place(world, "other") and place(world, "same")
    assert why(world, "address").endswith("didn't have free ports for the requested pod ports.")


def test_gates_hold_a_pod_back() -> None:
    world = World()
    world.apply(pod("p", schedulingGates=[{"name": "example.com/wait"}]))
    world.settle()
    assert place(world, "p") == ""
    assert why(world, "p") == "Scheduling is blocked due to non-empty scheduling gates"


def test_soft_taints_and_soft_spread_are_weighed() -> None:
    world = World()
    world.edit_node("node-1", taints=[{"key": "k", "effect": "PreferNoSchedule"}])
    world.apply(pod("p"))
    world.settle()
    assert place(world, "p") == "node-2"
    constraint = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "ScheduleAnyway"}
    selector = {"labelSelector": {"matchLabels": {"app": "q"}}}
    world = World(nodes=3)
    world.apply(pod("q", nodeSelector={ZONE: "a"}))
    world.settle()
    value = pod("r", topologySpreadConstraints=[{**constraint, **selector}])
    value["metadata"]["labels"] = {"app": "q"}
    world.apply(value)
    world.settle()
    assert place(world, "r") == "node-2"


def test_spread_knows_min_domains_and_match_label_keys() -> None:
    world = World(nodes=2)
    base = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule"}
    selector = {"labelSelector": {"matchLabels": {"app": "web"}}}
    value = deployment("web", 3)
    value["spec"]["template"]["spec"]["topologySpreadConstraints"] = [{**base, **selector, "minDomains": 3}]
    world.apply(value)
    world.settle()
    assert sorted(p["spec"].get("nodeName", "") for p in world.all("Pod")) == ["", "node-1", "node-2"]
    value["spec"]["template"]["spec"]["topologySpreadConstraints"] = [
        {**base, **selector, "matchLabelKeys": ["pod-template-hash"]}
    ]
    world.apply(value)
    world.settle()
    assert all(p["spec"].get("nodeName") for p in world.all("Pod"))


def test_allocatable_pods_are_a_limit() -> None:
    world = World(nodes=1)
    world.edit_node("node-1", status={"allocatable": {"pods": "1"}})
    world.apply(pod("a"))
    world.apply(pod("b"))
    world.settle()
    assert why(world, "b") == "0/1 nodes are available: 1 Too many pods."


def test_another_schedulers_pods_and_gated_pods_are_left_alone() -> None:
    world = World()
    world.apply(pod("foreign", schedulerName="other"))
    world.apply(pod("gated", schedulingGates=[{"name": "wait"}]))
    world.settle()
    assert place(world, "foreign") == place(world, "gated") == ""


def test_switched_off_nothing_is_bound() -> None:
    from podwire.snapshot import Owned, Settings

    world = World(Settings(planes=False, owned=Owned(scheduling=False)))
    world.apply(pod("p"))
    world.settle()
    assert place(world, "p") == ""
