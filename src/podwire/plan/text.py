"""Plans as text: one line per unit, sorted, the origin at the end. Equal plans give equal bytes.

What golden files compare and what a person reads in a diff. Private keys never appear.
"""

from collections.abc import Iterator

from podwire.plan.node import NodePlan, ProcessWork, StandInWork
from podwire.plan.plans import Plans
from podwire.plan.policy import PolicyPlan
from podwire.plan.routes import RoutePlan
from podwire.plan.services import Endpoint, ServicePlan
from podwire.plan.zone import ZonePlan


def format_plans(plans: Plans) -> str:
    """All planes, a heading each."""
    sections = {
        "services": format_services(plans.services),
        "policy": format_policy(plans.policy),
        "routes": format_routes(plans.routes),
        "zone": format_zone(plans.zone),
        "nodes": format_nodes(plans.nodes),
    }
    return "\n".join(f"# {name}\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections.items())


def format_services(plan: ServicePlan) -> Iterator[str]:
    """A line per Service port and one per endpoint."""
    for key in sorted(plan.ports):
        unit = plan.ports[key]
        virtual = (*unit.cluster_ips, *unit.load_balancer_ips, *unit.external_ips, *unit.host_ips)
        parts = [key, f"at {','.join(virtual)}"]
        parts += [f"of node {unit.host_node}"] if unit.host_node else []
        parts += [f"nodePort {unit.node_port}"] if unit.node_port else []
        parts += [f"affinity {unit.affinity_seconds}s"] if unit.affinity_seconds else []
        parts += ["internal Local"] if unit.internal_local else []
        parts += ["external Local"] if unit.external_local else []
        parts += [f"from {','.join(map(str, unit.source_ranges))}"] if unit.source_ranges else []
        yield f"{' '.join(parts)}  # {unit.origin}"
        yield from (f"  {_endpoint(endpoint)}" for endpoint in unit.endpoints)


def _endpoint(endpoint: Endpoint) -> str:
    state = "ready" if endpoint.ready else "serving" if endpoint.serving else "not ready"
    whom = endpoint.pod.key if endpoint.pod else "-"
    ending = " terminating" if endpoint.terminating else ""
    return f"{endpoint.address}:{endpoint.port} {whom} on {endpoint.node or '-'} {state}{ending}"


def format_policy(plan: PolicyPlan) -> Iterator[str]:
    """Pods with their isolation, ranges, port classes, and rules with the decision behind them."""
    for key in sorted(plan.pods):
        pod = plan.pods[key]
        isolated = " ".join(f"{d}:{pod.isolated[d]:#x}" for d in sorted(pod.isolated)) or "open"
        place = f"{','.join(pod.addresses)} identity {_numbers(pod.identities)}"
        yield f"pod {key} {place} {isolated} rules {pod.rule_set or '-'}"
    yield from (f"cidr {cidr} identity {number:#x}" for cidr, number in sorted(plan.cidrs.items()))
    yield from (f"name {address} identity {number:#x}" for address, number in sorted(plan.names.items()))
    yield from (f"ports {p.protocol} {p.first}-{p.last} class {p.number:#x}" for p in plan.ports)
    for name in sorted(plan.rule_sets):
        for rule, number in sorted(plan.rule_sets[name].items()):
            yield f"rule {name} {rule.direction} peer {rule.peer:#x} port class {rule.port_class:#x} is {number:#x}"
    for number in sorted(plan.decisions):
        decision = plan.decisions[number]
        origins = ", ".join(str(m.origin) for m in decision.matched)
        yield f"decision {number:#x} {decision.action} {decision.direction}  # {origins}"


def format_routes(plan: RoutePlan) -> Iterator[str]:
    """Hosts with routes in match order, then clusters."""
    for key in sorted(plan.proxies):
        proxy = plan.proxies[key]
        yield f"proxy {key} http {proxy.http_port} https {proxy.https_port}"
        for host in sorted(proxy.hosts):
            virtual = proxy.hosts[host]
            tls = f" tls {virtual.certificate}" if virtual.certificate else ""
            yield f"host {host}{tls}{' redirect' if virtual.redirect_https else ''}"
            for route in virtual.routes:
                action = f"to {route.cluster}" if route.cluster else f"answers {route.status}"
                yield f"  {route.path_type} {route.path} {action}  # {route.origin}"
        for name in sorted(proxy.clusters):
            cluster = proxy.clusters[name]
            upstreams = " ".join(f"{u.address}:{u.port}" for u in cluster.upstreams) or "none"
            yield f"cluster {name} {upstreams}  # {cluster.origin}"


def format_zone(plan: ZonePlan) -> Iterator[str]:
    """Records in name order; the serial is left out, it counts changes."""
    records = sorted({r for unit in plan.units.values() for r in unit.records if r.type != "SOA"})
    yield from (f"{r.name} {r.ttl} {r.type} {r.data}  # {r.origin}" for r in records)


def format_nodes(plan: NodePlan) -> Iterator[str]:
    """Nodes, pods with what their containers run, and outside routes."""
    for name in sorted(plan.nodes):
        node = plan.nodes[name]
        yield f"node {name} {' '.join(node.addresses)} zone {node.zone or '-'} pods {' '.join(node.pod_cidrs)}"
    for key in sorted(plan.pods):
        pod = plan.pods[key]
        yield f"pod {key} on {pod.node} hostname {pod.hostname}{' run' if pod.run else ''}  # {pod.origin}"
        for container in (*pod.init_containers, *pod.containers):
            yield f"  {container.name} {_work(container.work)}"
    for address in sorted(plan.routes):
        yield f"route {address} via {plan.routes[address].node}"


def _work(work: ProcessWork | StandInWork) -> str:
    if isinstance(work, ProcessWork):
        return f"runs {' '.join(work.argv)} ({work.reason})"
    ports = " ".join(f"{p.port}/{p.protocol}" for p in work.ports) or "nothing"
    return f"stands in, listens on {ports} ({work.reason})"


def _numbers(identities: tuple[int, ...]) -> str:
    """One number where the addresses are treated alike."""
    return ",".join(f"{number:#x}" for number in dict.fromkeys(identities))
