"""NetworkPolicy (N23), Ingress, IngressClass, EndpointSlice: errors in kube-apiserver's words."""

from typing import Any

import pytest

from podwire.kube import KINDS
from podwire.kube.defaults import default_object
from podwire.kube.validate import validate

Obj = dict[str, Any]


def made(kind_name: str, **body: Any) -> Obj:
    namespace = {"namespace": "shop"} if KINDS[kind_name].namespaced else {}
    meta = {"name": "x", **namespace, **body.pop("metadata", {})}
    return default_object({"apiVersion": KINDS[kind_name].api_version, "kind": kind_name, "metadata": meta, **body})


def texts(new: Obj, old: Obj | None = None) -> list[str]:
    return [str(error) for error in validate(new, old)]


def policy(*peers: Obj, ports: list[Obj] | None = None, **spec: Any) -> Obj:
    return made(
        "NetworkPolicy", spec={"podSelector": {}, "ingress": [{"from": list(peers), "ports": ports or []}], **spec}
    )


CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ({"podSelector": {}}, []),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}, []),
        ({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, []),
        ({"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}}, []),
        ({}, ["spec.ingress[0].from[0]: Required value: must specify a peer"]),
        (
            {"ipBlock": {"cidr": "10.0.0.0/33"}},
            [f'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.0/33": {CIDR}'],
        ),
        (
            {"ipBlock": {"cidr": "10.0.0.1"}},
            [f'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.1": {CIDR}'],
        ),
        ({"ipBlock": {}}, ["spec.ingress[0].from[0].ipBlock.cidr: Required value"]),
        (
            {"ipBlock": {"cidr": "010.0.0.0/8"}},
            [
                'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "010.0.0.0/8": '
                "must not have leading 0s in IP or prefix length"
            ],
        ),
        (
            {"ipBlock": {"cidr": "10.0.0.1/8"}},
            [
                'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.1/8": '
                "must not have bits set beyond the prefix length"
            ],
        ),
        (
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8", "11.0.0.0/16", "x"]}},
            [
                'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict '
                "subset of `cidr`",
                'spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict '
                "subset of `cidr`",
                f'spec.ingress[0].from[0].ipBlock.except[2]: Invalid value: "x": {CIDR}',
            ],
        ),
        (
            {"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}},
            ["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"],
        ),
        (
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}, {"key": "b", "operator": "In"}]}},
            [
                'spec.ingress[0].from[0].podSelector.matchExpressions[0].operator: Invalid value: "Is": '
                "not a valid selector operator",
                "spec.ingress[0].from[0].podSelector.matchExpressions[1].values: Required value: "
                "must be specified when `operator` is 'In' or 'NotIn'",
            ],
        ),
    ],
)
def test_policy_peers(peer: Obj, expected: list[str]) -> None:
    assert texts(policy(peer)) == expected


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({}, []),
        ({"port": "http"}, []),
        ({"port": 80, "endPort": 90}, []),
        (
            {"port": 80, "protocol": "ICMP"},
            ['.protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
        ),
        ({"port": 80, "endPort": 70}, [".endPort: Invalid value: 70: must be greater than or equal to `port`"]),
        ({"endPort": 70}, [".endPort: Invalid value: 70: may not be specified when `port` is not specified"]),
        (
            {"port": "http", "endPort": 70},
            [".endPort: Invalid value: 70: may not be specified when `port` is non-numeric"],
        ),
        ({"port": 70000}, [".port: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
    ],
)
def test_policy_ports(port: Obj, expected: list[str]) -> None:
    assert texts(policy({"podSelector": {}}, ports=[port])) == [f"spec.ingress[0].ports[0]{text}" for text in expected]


def test_policy_types() -> None:
    assert texts(policy(policyTypes=["Ingress", "Up"])) == [
        'spec.policyTypes[1]: Unsupported value: "Up": supported values: "Egress", "Ingress"'
    ]
    assert texts(policy(policyTypes=["Ingress", "Egress", "Ingress"])) == [
        'spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two policyTypes'
    ]


def test_blocks_stored_earlier_stay_accepted_anywhere() -> None:
    old = policy({"ipBlock": {"cidr": "10.0.0.1/8"}})
    new = made("NetworkPolicy", spec={"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}]})
    assert texts(new, old) == []
    assert len(texts(new)) == 1


def ingress(path: Obj | None = None, **spec: Any) -> Obj:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend, **(path or {})}]
    return made("Ingress", spec={"rules": [{"host": "shop.example", "http": {"paths": paths}}], **spec})


PATH = "spec.rules[0].http.paths[0]"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ({}, []),
        ({"path": "/a(/|$)(.*)", "pathType": "ImplementationSpecific"}, []),
        ({"path": "", "pathType": "ImplementationSpecific"}, []),
        ({"backend": {"service": {"name": "web", "port": {"name": "http"}}}}, []),
        ({"pathType": None}, [f"{PATH}.pathType: Required value: pathType must be specified"]),
        (
            {"pathType": "Regex"},
            [
                f'{PATH}.pathType: Unsupported value: "Regex": supported values: "Exact", '
                '"ImplementationSpecific", "Prefix"'
            ],
        ),
        ({"path": ""}, [f'{PATH}.path: Invalid value: "": must be an absolute path']),
        ({"path": "/a//b"}, [f"{PATH}.path: Invalid value: \"/a//b\": must not contain '//'"]),
        ({"path": "/a/.."}, [f"{PATH}.path: Invalid value: \"/a/..\": cannot end with '/..'"]),
        ({"backend": {}}, [f'{PATH}.backend: Invalid value: "": resource or service backend is required']),
        (
            {"backend": {"service": {"name": "web"}}},
            [f"{PATH}.backend: Required value: port name or number is required"],
        ),
        (
            {"backend": {"service": {"name": "web", "port": {"name": "a", "number": 1}}}},
            [f'{PATH}.backend: Invalid value: "": cannot set both port name & port number'],
        ),
        (
            {"backend": {"service": {"port": {"number": 70000}}}},
            [
                f"{PATH}.backend.service.name: Required value",
                f"{PATH}.backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
    ],
)
def test_ingress_paths(path: Obj, expected: list[str]) -> None:
    assert texts(ingress(path)) == expected


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ({"rules": []}, "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"),
        (
            {"rules": [{"host": "1.2.3.4"}]},
            'spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address',
        ),
        (
            {"rules": [{"host": "a.*.b"}]},
            'spec.rules[0].host: Invalid value: "a.*.b": a wildcard DNS-1123 subdomain must',
        ),
        (
            {"rules": [{"host": "Shop"}]},
            'spec.rules[0].host: Invalid value: "Shop": a lowercase RFC 1123 subdomain must',
        ),
        ({"rules": [{"http": {"paths": []}}]}, "spec.rules[0].http.paths: Required value"),
        ({"tls": [{"hosts": ["*.a.b", "_"]}]}, 'spec.tls[0].hosts[1]: Invalid value: "_": a lowercase RFC 1123'),
        ({"tls": [{"secretName": "S"}]}, 'spec.tls[0].secretName: Invalid value: "S": a lowercase RFC 1123'),
        ({"ingressClassName": "N"}, 'spec.ingressClassName: Invalid value: "N": a lowercase RFC 1123'),
    ],
)
def test_ingress(spec: Obj, start: str) -> None:
    (text,) = texts(ingress(**spec))
    assert text.startswith(start)


def test_ingress_class_annotation_must_agree_on_create_only() -> None:
    obj = ingress(ingressClassName="nginx")
    obj["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "other"}
    expected = 'Invalid value: "other": must match `ingressClassName` when both are specified'
    assert texts(obj) == [f"annotations.kubernetes.io/ingress.class: {expected}"]
    assert texts(obj, obj) == []


def test_ingress_class() -> None:
    assert texts(made("IngressClass", spec={"controller": "k8s.io/ingress-nginx"})) == []
    assert texts(made("IngressClass", spec={})) == ["spec.controller: Required value"]
    assert texts(made("IngressClass", spec={"controller": "nginx"})) == [
        'spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")'
    ]
    old, new = (made("IngressClass", spec={"controller": f"a.b/{name}"}) for name in "ab")
    assert texts(new, old) == ['spec.controller: Invalid value: "a.b/b": field is immutable']
    scoped = {"controller": "a.b/c", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}
    assert texts(made("IngressClass", spec=scoped)) == [
        "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80, "name": "http"}]}, []),
        ({"endpoints": []}, []),
        (
            {"addressType": "IP", "endpoints": []},
            ['addressType: Unsupported value: "IP": supported values: "FQDN", "IPv4", "IPv6"'],
        ),
        (
            {"endpoints": [{"addresses": []}]},
            ["endpoints[0].addresses: Required value: must contain at least 1 address"],
        ),
        (
            {"endpoints": [{"addresses": ["::1", "10.0.0.01"]}]},
            [
                'endpoints[0].addresses[0]: Invalid value: "::1": must be an IPv4 address',
                'endpoints[0].addresses[0]: Invalid value: "::1": may not be in the loopback range '
                "(127.0.0.0/8, ::1/128)",
                'endpoints[0].addresses[1]: Invalid value: "10.0.0.01": must not have leading 0s',
            ],
        ),
        (
            {"endpoints": [], "ports": [{"port": 1}, {"port": 2}]},
            ['ports[1].name: Duplicate value: ""'],
        ),
        (
            {"endpoints": [{"addresses": ["10.0.0.1"]}] * 1001},
            ["endpoints: Too many: 1001: must have at most 1000 items"],
        ),
    ],
)
def test_endpoint_slices(body: Obj, expected: list[str]) -> None:
    assert texts(made("EndpointSlice", **{"addressType": "IPv4", **body})) == expected


def test_address_type_is_immutable() -> None:
    old, new = (made("EndpointSlice", addressType=kind, endpoints=[]) for kind in ("IPv4", "IPv6"))
    assert texts(new, old) == ['addressType: Invalid value: "IPv6": field is immutable']
