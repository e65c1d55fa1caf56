"""Random small clusters as manifests: the same seed gives the same cluster.

They are built to disagree: few label values so that selectors hit and miss, ports that differ per pod under one name,
policies of every peer kind in both directions, Services of every type over overlapping sets of pods.
"""

from random import Random
from typing import Any

Json = dict[str, Any]

APPS = ("red", "green", "blue")
TIERS = ("front", "back")
TCP_PORTS = (8080, 8081, 9090)
UDP_PORT = 5353


def generate_cluster(seed: int) -> list[Json]:
    """Namespaces, bare pods, Services and NetworkPolicies."""
    random = Random(seed)
    namespaces = [f"ns{i}" for i in range(random.randint(2, 3))]
    objects: list[Json] = [_namespace(name, random) for name in namespaces]
    pods = [_pod(f"p{i}", random.choice(namespaces), random) for i in range(random.randint(6, 8))]
    objects += pods
    objects += [_service(f"s{i}", random.choice(namespaces), i, random) for i in range(random.randint(3, 5))]
    objects += [_policy(f"np{i}", random.choice(namespaces), random) for i in range(random.randint(2, 6))]
    _give_host_ports(pods, random)
    return objects


def _give_host_ports(pods: list[Json], random: Random) -> None:
    """Some ports of some pods are ports of their nodes too; no two pods ask for the same."""
    for index, pod in enumerate(pods):
        if random.random() < 0.4:
            random.choice(pod["spec"]["containers"][0]["ports"])["hostPort"] = 7000 + index


def _meta(name: str, namespace: str = "", labels: dict[str, str] | None = None) -> Json:
    meta: Json = {"name": name, "labels": labels or {}}
    return {**meta, "namespace": namespace} if namespace else meta


def _namespace(name: str, random: Random) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": _meta(name, labels={"team": random.choice(APPS)})}


def _pod(name: str, namespace: str, random: Random) -> Json:
    ports = [{"name": "web", "containerPort": random.choice(TCP_PORTS[:2])}]
    if random.random() < 0.5:
        ports.append({"name": "admin", "containerPort": TCP_PORTS[2]})
    if random.random() < 0.5:
        ports.append({"name": "udp", "containerPort": UDP_PORT, "protocol": "UDP"})
    labels = {"app": random.choice(APPS), "tier": random.choice(TIERS)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _meta(name, namespace, labels),
        "spec": {"containers": [{"name": "main", "image": "example.com/standin", "ports": ports}]},
    }


def _service(name: str, namespace: str, index: int, random: Random) -> Json:
    kind = random.choice(("ClusterIP", "NodePort", "LoadBalancer", "ClusterIP"))
    target: int | str = random.choice(("web", "web", 8080, "admin"))
    spec: Json = {
        "type": kind,
        "selector": {"app": random.choice(APPS)} if random.random() < 0.7 else {"tier": random.choice(TIERS)},
        "ports": [{"name": "web", "port": 80, "targetPort": target}],
    }
    if random.random() < 0.4:
        spec["ports"].append({"name": "udp", "port": 53, "protocol": "UDP", "targetPort": "udp"})
    if random.random() < 0.25:
        spec["sessionAffinity"] = "ClientIP"
    if random.random() < 0.25:
        spec["internalTrafficPolicy"] = "Local"
    if kind != "ClusterIP" and random.random() < 0.5:
        spec["externalTrafficPolicy"] = "Local"
    if kind == "ClusterIP" and random.random() < 0.2:
        spec = {**spec, "clusterIP": "None"}
        spec.pop("internalTrafficPolicy", None)
    return {"apiVersion": "v1", "kind": "Service", "metadata": _meta(f"{name}-{index}", namespace), "spec": spec}


def _policy(name: str, namespace: str, random: Random) -> Json:
    spec: Json = {
        "podSelector": random.choice(({}, {"matchLabels": {"app": random.choice(APPS)}}, _expressions(random)))
    }
    types = random.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"], None))
    if types is not None:
        spec["policyTypes"] = types
    if types is None or "Ingress" in types:
        spec["ingress"] = [_rule("from", random) for _ in range(random.randint(0, 2))]
    if types is not None and "Egress" in types:
        spec["egress"] = [_rule("to", random) for _ in range(random.randint(0, 2))]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(name, namespace),
        "spec": spec,
    }


def _rule(field: str, random: Random) -> Json:
    rule: Json = {}
    if random.random() < 0.8:
        rule[field] = [_peer(random) for _ in range(random.randint(1, 2))]
    if random.random() < 0.6:
        rule["ports"] = [_port(random) for _ in range(random.randint(1, 2))]
    return rule


def _peer(random: Random) -> Json:
    choice = random.randint(0, 4)
    if choice == 0:
        return {"podSelector": {"matchLabels": {"tier": random.choice(TIERS)}}}
    if choice == 1:
        return {"namespaceSelector": {"matchLabels": {"team": random.choice(APPS)}}}
    if choice == 2:
        return {"namespaceSelector": {}, "podSelector": _expressions(random)}
    if choice == 3:
        return {"podSelector": {}}
    cidr = random.choice(("0.0.0.0/0", "10.244.0.0/16", "10.244.0.0/24", "10.244.1.0/24", "10.89.0.0/16"))
    block: Json = {"cidr": cidr}
    if cidr in ("0.0.0.0/0", "10.244.0.0/16") and random.random() < 0.6:
        block["except"] = [random.choice(("10.244.0.0/28", "10.244.1.0/25", "10.244.1.3/32"))]
    return {"ipBlock": block}


def _expressions(random: Random) -> Json:
    operator = random.choice(("In", "NotIn", "Exists", "DoesNotExist"))
    expression: Json = {"key": random.choice(("app", "missing")), "operator": operator}
    if operator in ("In", "NotIn"):
        expression["values"] = [random.choice(APPS)]
    return {"matchExpressions": [expression]}


def _port(random: Random) -> Json:
    return random.choice(
        (
            {"port": "web"},
            {"port": 8080},
            {"port": 8080, "endPort": 9000},
            {"protocol": "UDP"},
            {"protocol": "UDP", "port": UDP_PORT},
            {"port": 80},
            {"protocol": "TCP", "port": "admin"},
        )
    )
