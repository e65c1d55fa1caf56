"""The narrow waist: what each plane must do, in podwire's own words.

Plans are mappings from unit keys to immutable units; every unit names the object and field it came from. The compiler
makes them, drivers execute them, ``explain`` interprets the same ones. The functions that *read* plans
(:func:`decide_backends`, :func:`decide_policy`, :func:`decide_route`, :class:`ZoneIndex`) live beside the types, so
that there is one meaning. This room does not know Kubernetes kinds.
"""

from podwire.plan import node as node
from podwire.plan.facts import ContainerFact, EventFact, Facts, NodeFact, PlaneFact, PodFact
from podwire.plan.node import NodePlan, node_netns, pod_netns
from podwire.plan.plans import Driver, Fact, Plans, Report, digest
from podwire.plan.policy import (
    WORLD,
    Action,
    Decision,
    Direction,
    Matched,
    PolicyPlan,
    PolicyPod,
    PolicyVerdict,
    PortClass,
    RuleKey,
    decide_policy,
    identity_of,
    port_class_of,
)
from podwire.plan.routes import (
    Certificate,
    Cluster,
    ProxyPlan,
    Route,
    RouteDecision,
    RoutePlan,
    Upstream,
    VirtualHost,
    decide_route,
    find_host,
    matches_path,
)
from podwire.plan.services import (
    Backends,
    Endpoint,
    ProxySettings,
    Scope,
    ServiceNode,
    ServicePlan,
    ServicePort,
    decide_backends,
    find_ports,
)
from podwire.plan.writes import Bind, Create, Json, Merge, Remove, Replace, Write, WritePlan
from podwire.plan.zone import Answer, PodsMode, Record, ZoneIndex, ZonePlan, ZoneUnit

__all__ = [
    "WORLD",
    "Action",
    "Answer",
    "Backends",
    "Bind",
    "Certificate",
    "Cluster",
    "ContainerFact",
    "Create",
    "Decision",
    "Direction",
    "Driver",
    "Endpoint",
    "EventFact",
    "Fact",
    "Facts",
    "Json",
    "Matched",
    "Merge",
    "NodeFact",
    "NodePlan",
    "PlaneFact",
    "Plans",
    "PodFact",
    "PodsMode",
    "PolicyPlan",
    "PolicyPod",
    "PolicyVerdict",
    "PortClass",
    "ProxyPlan",
    "ProxySettings",
    "Record",
    "Remove",
    "Replace",
    "Report",
    "Route",
    "RouteDecision",
    "RoutePlan",
    "RuleKey",
    "Scope",
    "ServiceNode",
    "ServicePlan",
    "ServicePort",
    "Upstream",
    "VirtualHost",
    "Write",
    "WritePlan",
    "ZoneIndex",
    "ZonePlan",
    "ZoneUnit",
    "decide_backends",
    "decide_policy",
    "decide_route",
    "digest",
    "find_host",
    "find_ports",
    "identity_of",
    "matches_path",
    "node",
    "node_netns",
    "pod_netns",
    "port_class_of",
]
