"""Services: error types, fields and texts of kube-apiserver (S1-S20)."""

from typing import Any

import pytest

from podwire.kube.defaults import default_object
from podwire.kube.validate import validate

Obj = dict[str, Any]


def service(meta: Obj | None = None, **spec: Any) -> Obj:
    spec = {"ports": [{"port": 80}], **spec}
    meta = {"name": "api", "namespace": "shop", **(meta or {})}
    return default_object({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})


def texts(new: Obj, old: Obj | None = None, subresource: str = "") -> list[str]:
    return [str(error) for error in validate(new, old, subresource=subresource)]


LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"clusterIP": "None", "ports": []},
        {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]},
        {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000},
        {"type": "LoadBalancer", "loadBalancerSourceRanges": [" 10.0.0.0/8 ", "2001:db8::/64"]},
        {"type": "ExternalName", "externalName": "example.com.", "ports": []},
        {"sessionAffinity": "ClientIP"},
        {"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ipFamilies": ["IPv4"]},
        {"clusterIP": "10.96.0.5"},
        {"ports": [{"port": 53, "name": "udp", "protocol": "UDP"}, {"port": 53, "name": "tcp"}]},
        {"ports": [{"port": 80, "appProtocol": "kubernetes.io/h2c", "targetPort": "http"}]},
        {"trafficDistribution": "PreferSameZone"},
    ],
)
def test_valid(spec: Obj) -> None:
    assert texts(service(**spec)) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"ports": []}, ["spec.ports: Required value"]),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]},
            [
                "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
                "The range of valid ports is 30000-32767"
            ],
        ),
        (
            {"ports": [{"port": 80, "nodePort": 30080}]},
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            {"type": "Balancer"},
            [
                'spec.type: Unsupported value: "Balancer": supported values: "ClusterIP", "ExternalName", '
                '"LoadBalancer", "NodePort"'
            ],
        ),
        (
            {"ports": [{"port": 0, "protocol": "ICMP"}]},
            [
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                'spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "a"}]},
            [
                'spec.ports[1].name: Duplicate value: "a"',
                'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80}',
            ],
        ),
        (
            {"ports": [{"port": 80}, {"port": 81, "name": "B"}]},
            ["spec.ports[0].name: Required value", f'spec.ports[1].name: Invalid value: "B": {LABEL}'],
        ),
        (
            {
                "type": "NodePort",
                "ports": [{"port": 80, "name": "a", "nodePort": 30080}, {"port": 81, "name": "b", "nodePort": 30080}],
            },
            ["spec.ports[1].nodePort: Duplicate value: 30080"],
        ),
        (
            {"ports": [{"port": 80, "targetPort": "Way-too-long-a-name"}]},
            [
                'spec.ports[0].targetPort: Invalid value: "Way-too-long-a-name": must be no more than 15 bytes',
                'spec.ports[0].targetPort: Invalid value: "Way-too-long-a-name": must contain only alpha-numeric '
                "characters (a-z, 0-9), and hyphens (-)",
            ],
        ),
        (
            {"type": "ExternalName", "clusterIPs": ["10.96.0.1"], "clusterIP": "10.96.0.1"},
            [
                "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
                "spec.externalName: Required value",
            ],
        ),
        (
            {"clusterIP": "10.96.0.01"},
            ['spec.clusterIPs[0]: Invalid value: "10.96.0.01": must not have leading 0s'],
        ),
        (
            {"clusterIP": "nonsense"},
            [
                'spec.clusterIPs[0]: Invalid value: "nonsense": must be a valid IP address, (e.g. 10.9.8.7 or '
                "2001:db8::ffff)"
            ],
        ),
        (
            {"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.6"]},
            ['spec.clusterIPs: Invalid value: ["10.96.0.6"]: first value must match `clusterIP`'],
        ),
        (
            {"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5", "10.96.0.6"]},
            [
                'spec.clusterIPs: Invalid value: ["10.96.0.5","10.96.0.6"]: '
                "may specify no more than one IP for each IP family"
            ],
        ),
        (
            {"clusterIP": "None", "clusterIPs": ["None", "10.96.0.6"]},
            ['spec.clusterIPs: Invalid value: ["None","10.96.0.6"]: \'None\' must be the first and only value'],
        ),
        (
            {"clusterIP": "10.96.0.5", "ipFamilies": ["IPv6"]},
            ['spec.clusterIPs[0]: Invalid value: "10.96.0.5": expected an IPv6 value as indicated by `ipFamilies[0]`'],
        ),
        (
            {"type": "NodePort", "clusterIP": "None"},
            ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (
            {"ipFamilyPolicy": "Both", "ipFamilies": ["IPv4", "IPv4", "IPX"]},
            [
                'spec.ipFamilies[1]: Duplicate value: "IPv4"',
                'spec.ipFamilies[2]: Unsupported value: "IPX": supported values: "IPv4", "IPv6"',
                'spec.ipFamilyPolicy: Unsupported value: "Both": supported values: "PreferDualStack", '
                '"RequireDualStack", "SingleStack"',
            ],
        ),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}},
            [
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: "
                "must be greater than 0 and less than 86400"
            ],
        ),
        (
            {"externalIPs": ["127.0.0.1", "x"]},
            [
                'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range '
                "(127.0.0.0/8, ::1/128)",
                'spec.externalIPs[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or '
                "2001:db8::ffff)",
            ],
        ),
        (
            {"externalTrafficPolicy": "Local"},
            ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
        ),
        (
            {"loadBalancerSourceRanges": ["10.0.0.0/33"]},
            [
                "spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
                'spec.loadBalancerSourceRanges[0]: Invalid value: "10.0.0.0/33": must be a valid CIDR value, '
                "(e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ],
        ),
        (
            {"loadBalancerClass": "x/y"},
            ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
        ),
        (
            {"trafficDistribution": "Near"},
            [
                'spec.trafficDistribution: Unsupported value: "Near": supported values: "PreferClose", '
                '"PreferSameNode", "PreferSameZone"'
            ],
        ),
        (
            {"type": "NodePort", "healthCheckNodePort": 31000},
            [
                "spec.healthCheckNodePort: Invalid value: 31000: may only be set when `type` is 'LoadBalancer' and "
                "`externalTrafficPolicy` is 'Local'"
            ],
        ),
    ],
)
def test_invalid(spec: Obj, expected: list[str]) -> None:
    assert texts(service(**spec)) == expected


def test_causes_are_those_of_a_status() -> None:
    (error,) = validate(service(ports=[]))
    assert (error.type, error.reason, error.field, error.message) == (
        "Required",
        "FieldValueRequired",
        "spec.ports",
        "Required value",
    )


STORED = service(clusterIP="10.96.0.5", clusterIPs=["10.96.0.5"], ipFamilies=["IPv4"])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        (
            {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]},
            ['spec.clusterIPs[0]: Invalid value: ["10.96.0.9"]: may not change once set'],
        ),
        (
            {"clusterIP": "", "clusterIPs": []},
            ["spec.clusterIPs[0]: Invalid value: []: primary clusterIP can not be unset"],
        ),
        ({"type": "ExternalName", "externalName": "a.b", "clusterIP": "", "clusterIPs": [], "ipFamilies": []}, []),
        (
            {"clusterIP": "None", "clusterIPs": ["None"]},
            ['spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set'],
        ),
    ],
)
def test_updates(spec: Obj, expected: list[str]) -> None:
    new = service(**{"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ipFamilies": ["IPv4"], **spec})
    assert texts(new, STORED) == expected


def test_values_stored_earlier_stay_accepted() -> None:
    old = service(externalIPs=["010.1.2.3"])
    assert texts(old) == ['spec.externalIPs[0]: Invalid value: "010.1.2.3": must not have leading 0s']
    assert texts(old, old) == []


def test_status() -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "VIP"}]}}
    assert texts({**service(type="LoadBalancer"), "status": status}, subresource="status") == []
    assert texts({**service(), "status": status}, subresource="status") == [
        'status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is "LoadBalancer"'
    ]
    status = {"loadBalancer": {"ingress": [{"hostname": "1.2.3.4"}]}}
    assert texts({**service(type="LoadBalancer"), "status": status}, subresource="status") == [
        'status.loadBalancer.ingress[0].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address'
    ]


def test_names_are_labels_and_may_start_with_a_digit() -> None:
    assert texts(service({"name": "1api"})) == []
    assert texts(service({"name": "a.b"})) == [f'metadata.name: Invalid value: "a.b": {LABEL}']
    assert texts(service({"name": "a" * 64})) == [
        f'metadata.name: Invalid value: "{"a" * 64}": must be no more than 63 bytes'
    ]
