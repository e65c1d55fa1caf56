"""Cells of the kinds that are not workloads."""

from typing import Any

from podwire.kube.columns_text import age, labels, name, selector, shortened, since

Obj = dict[str, Any]


def config_map(obj: Obj, now: float) -> list[Any]:
    """Keys of both kinds count."""
    return [name(obj), len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), age(obj, now)]


def secret(obj: Obj, now: float) -> list[Any]:
    """Type and number of keys; never values."""
    return [name(obj), obj.get("type", ""), len(obj.get("data") or {}), age(obj, now)]


def service_account(obj: Obj, now: float) -> list[Any]:
    """Number of Secrets."""
    return [name(obj), len(obj.get("secrets") or ()), age(obj, now)]


def namespace(obj: Obj, now: float) -> list[Any]:
    """Active or Terminating."""
    return [name(obj), (obj.get("status") or {}).get("phase", ""), age(obj, now)]


def lease(obj: Obj, now: float) -> list[Any]:
    """Who holds it."""
    return [name(obj), (obj.get("spec") or {}).get("holderIdentity") or "", age(obj, now)]


def network_policy(obj: Obj, now: float) -> list[Any]:
    """The pods it selects; ``<none>`` means all pods of the namespace."""
    return [name(obj), selector((obj.get("spec") or {}).get("podSelector")), age(obj, now)]


def cluster_network_policy(obj: Obj, now: float) -> list[Any]:
    """Tier and priority."""
    spec = obj.get("spec") or {}
    return [name(obj), spec.get("tier") or "", spec.get("priority"), age(obj, now)]


def ingress_class(obj: Obj, now: float) -> list[Any]:
    """Controller and parameters."""
    spec = obj.get("spec") or {}
    parameters = spec.get("parameters")
    shown = "<none>"
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [name(obj), spec.get("controller", ""), shown, age(obj, now)]


def ingress(obj: Obj, now: float) -> list[Any]:
    """Hosts, address, and 80 or 80, 443 by whether there is TLS."""
    spec = obj.get("spec") or {}
    rules = spec.get("rules") or []
    hosts = [rule["host"] for rule in rules[:3] if rule.get("host")]
    return [
        name(obj),
        spec.get("ingressClassName") or "<none>",
        shortened(hosts, total=len(rules)) if hosts else "*",
        _balancer(obj),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now),
    ]


def service(obj: Obj, now: float) -> list[Any]:
    """Type, addresses, ports."""
    spec = obj.get("spec") or {}
    ports = ",".join(_service_port(port) for port in spec.get("ports") or ())
    return [
        name(obj),
        spec.get("type", ""),
        spec.get("clusterIP") or "<none>",
        _external(obj, spec),
        ports or "<none>",
        age(obj, now),
        labels(spec.get("selector")),
    ]


def _service_port(port: Obj) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port', 0)}{node_port}/{port.get('protocol', 'TCP')}"


def _external(obj: Obj, spec: Obj) -> str:
    external = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return ",".join(external) or "<none>"
        case "LoadBalancer":
            balancer = _balancer(obj)
            return ",".join([balancer, *external] if balancer else external) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
        case _:
            return "<unknown>"


def _balancer(obj: Obj) -> str:
    """Addresses of the status, sorted, without doubles."""
    entries = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    found = {entry.get("ip") or entry.get("hostname") or "" for entry in entries}
    return ",".join(sorted(found - {""}))


def endpoint_slice(obj: Obj, now: float) -> list[Any]:
    """First ports and addresses."""
    ports = [str(port.get("port") or port.get("name") or "*") for port in obj.get("ports") or ()]
    addresses = [address for entry in obj.get("endpoints") or () for address in entry.get("addresses") or ()]
    return [
        name(obj),
        obj.get("addressType", ""),
        shortened(ports) or "<unset>",
        shortened(addresses) or "<unset>",
        age(obj, now),
    ]


def endpoints(obj: Obj, now: float) -> list[Any]:
    """First ready addresses with ports."""
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        ips = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        found += [_host_port(ip, port.get("port", 0)) for port in ports for ip in ips] if ports else ips
    return [name(obj), shortened(found) or "<none>", age(obj, now)]


def _host_port(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def node(obj: Obj, now: float) -> list[Any]:
    """Ready or not, roles from labels, versions and addresses."""
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    return [
        name(obj),
        _node_status(obj),
        _roles((obj.get("metadata") or {}).get("labels") or {}),
        age(obj, now),
        info.get("kubeletVersion", ""),
        _node_address(status, "InternalIP"),
        _node_address(status, "ExternalIP"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _node_status(obj: Obj) -> str:
    ready = [c for c in (obj.get("status") or {}).get("conditions") or () if c.get("type") == "Ready"]
    words = ["Ready" if ready[-1].get("status") == "True" else "NotReady"] if ready else ["Unknown"]
    if (obj.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(values: Obj) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = {key.removeprefix(prefix) for key in values if key.startswith(prefix)} - {""}
    if values.get("kubernetes.io/role"):
        roles.add(values["kubernetes.io/role"])
    return ",".join(sorted(roles)) or "<none>"


def _node_address(status: Obj, kind: str) -> str:
    found = [entry.get("address", "") for entry in status.get("addresses") or () if entry.get("type") == kind]
    return found[0] if found else "<none>"


def event(obj: Obj, now: float) -> list[Any]:
    """LAST SEEN TYPE REASON OBJECT SUBOBJECT SOURCE MESSAGE FIRST SEEN COUNT NAME."""
    about = obj.get("involvedObject") or {}
    first = since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if obj.get("series"):
        last, count = since(obj["series"].get("lastObservedTime"), now), obj["series"].get("count", 0)
    kind = about.get("kind", "").lower()
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{about['name']}" if about.get("name") else kind,
        about.get("fieldPath", ""),
        _source(obj),
        (obj.get("message") or "").strip(),
        first,
        count,
        name(obj),
    ]


def _source(obj: Obj) -> str:
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {host}" if host else component


def webhooks(obj: Obj, now: float) -> list[Any]:
    """NAME WEBHOOKS AGE."""
    return [name(obj), len(obj.get("webhooks") or ()), age(obj, now)]


def admission_policy(obj: Obj, now: float) -> list[Any]:
    """NAME VALIDATIONS PARAMKIND AGE."""
    spec = obj.get("spec") or {}
    kind = spec.get("paramKind") or {}
    shown = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else "<unset>"
    return [name(obj), len(spec.get("validations") or ()), shown, age(obj, now)]


def admission_binding(obj: Obj, now: float) -> list[Any]:
    """NAME POLICYNAME PARAMREF AGE."""
    spec = obj.get("spec") or {}
    reference = spec.get("paramRef") or {}
    found = reference.get("name") or ("*" if reference.get("selector") is not None else "")
    shown = f"{reference['namespace']}/{found}" if reference.get("namespace") else found or "<unset>"
    return [name(obj), spec.get("policyName", ""), shown, age(obj, now)]


def ip_address(obj: Obj, now: float) -> list[Any]:
    """NAME PARENTREF."""
    parent = (obj.get("spec") or {}).get("parentRef") or {}
    resource = ".".join(part for part in (parent.get("resource"), parent.get("group")) if part)
    words = (resource, parent.get("namespace"), parent.get("name"))
    return [name(obj), "/".join(word for word in words if word)]


def service_cidr(obj: Obj, now: float) -> list[Any]:
    """NAME CIDRS AGE."""
    return [name(obj), ",".join((obj.get("spec") or {}).get("cidrs") or ()), age(obj, now)]
