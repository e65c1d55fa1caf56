# ruff: noqa: E501 - tables of words
"""Requests that nobody sane sends, made from ones that are sane: for ``test_http_fuzz.py``.

Everything comes from one :class:`random.Random`, so a seed repeats a run.
"""

import copy
import json
from random import Random
from typing import Any

from tests.unit.apiserver.test_hostile_bodies import SAMPLES

from podwire.kube.registry import KINDS, Kind

Json = dict[str, Any]

WORDS = (
    "", "x", "default", "-1", "0", "1", "99999999999999999999", "true", "false", "None", "All", "Orphan", "a=b", "a in (b",
    "!a", "metadata.name=x", "spec.nope=1", "..", "%00", "é", "\u0000", "x" * 300, "NotOlderThan", "Exact", "🦊", "*", "/",
)  # fmt: skip
QUERIES = (
    "limit", "continue", "labelSelector", "fieldSelector", "resourceVersion", "resourceVersionMatch", "dryRun", "force",
    "fieldManager", "fieldValidation", "sendInitialEvents", "includeObject", "pretty", "propagationPolicy", "hash",
    "gracePeriodSeconds", "orphanDependents", "allowWatchBookmarks", "command", "container", "stdin", "ports", "tailLines",
    "sinceSeconds", "sinceTime", "follow", "previous", "limitBytes", "stream", "nonsense",
)  # fmt: skip
MEDIA = (
    "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/json-patch+json",
    "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml", "",
    "text/plain", "application/cbor", "application/json; charset=utf-16", ";;;=",
)  # fmt: skip
ACCEPT = (
    "", "*/*", "application/json", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/yaml",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/vnd.kubernetes.protobuf",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json", ";", "text/html", "a" * 500,
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
)  # fmt: skip
METHODS = ("GET", "GET", "POST", "POST", "POST", "PUT", "PATCH", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW")
LOOSE = (
    "/", "/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/apis/apps/v9", "/version", "/healthz/x", "/livez",
    "/openapi/v2", "/openapi/v3", "/openapi/v3/apis/apps/v1", "/openapi/v3/x/y", "/metrics", "/openid/v1/jwks", "//api//v1",
    "/.well-known/openid-configuration", "/api/v1/namespaces/default/pods/x/log", "/api/v1/namespaces/default/pods/x/exec",
    "/api/v1/namespaces/default/pods/x/portforward", "/api/v1/namespaces/default/services/x:y:z/proxy/a/../b",
    "/api/v1/namespaces/default/pods/x/proxy", "/api/v1/namespaces/default/serviceaccounts/default/token", "/api/v1/%2e%2e/x",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "/apis/authentication.k8s.io/v1/tokenreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "/apis/events.k8s.io/v1/namespaces/default/events",
    "/apis/fuzz.example/v1/namespaces/default/things", "/apis/fuzz.example/v1/namespaces/default/things/x/scale",
    "/apis/fuzz.example/v1/things", "/apis/fuzz.example/v2/namespaces/default/things/x", "/api/v1/watch/pods", "*",
)  # fmt: skip
CEL = (
    "self.a", "object.spec.replicas", "oldSelf", "1", "-1", "1u", "'x'", "null", "[1,2]", "{'a': 1}", "true", "dyn(1)",
    "size(self.b)", "self.b.all(x, x > 1)", "self.b.map(x, x + 1)", "self.a.matches('(a+)+$')", "'%d'.format([1])",
    "quantity('1Gi').isGreaterThan(quantity('1'))", "ip('1.2.3.4').family()", "cidr('10.0.0.0/8').containsIP('10.1.1.1')",
    "url('https://x/y').getHost()", "semver('1.2.3').major()", "duration('1s')", "timestamp('2020-01-01T00:00:00Z')", "has(self.a)",
    "self.?a.orValue('z')", "[1,2,3].sum()", "'abc'.substring(1, 9)", "'a'.charAt(7)", "sets.contains([1], [2])", "1/0",
    "9223372036854775807 + 1", "[[[]]][0][0][0]", "variables.x", "request.userInfo.username", "params.a", "string(self)",
)  # fmt: skip
OPERATORS = (" + ", " == ", " && ", " || ", " < ", " in ", " % ", "?", ".", "[", " - ", ")")
LEAVES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**63, -(2**63), 2**70, 1.5, 1e308, "", "x", "x" * 300, [], {}, [None], {"": {}}, [[]],
    "10.96.0.1", "::1", "0", "/", "a/b/c", "$patch", {"$patch": "delete"}, {"$setElementOrder/x": []}, "\ud800", "\u0000",
    "2026-01-01T00:00:00Z", "1Gi", "1e99999999", "100%", ["a", 1], {"matchLabels": {"a": 1}}, "=" * 20, "Yg==", [{"name": "a"}] * 3,
)  # fmt: skip


def definition(rule: str, draw: Random) -> Json:
    """A CRD with a rule."""
    field: Json = {"type": draw.choice(["string", "integer", "number", "boolean", "object", "array"])}
    if field["type"] == "array":
        field["items"] = {"type": "string"}
    listed = {"type": "array", "items": {"type": "integer"}, "maxItems": 9}
    spec = {"type": "object", "properties": {"a": field, "b": listed, "replicas": {"type": "integer"}}}
    validation = {"rule": rule, "message": "no"}
    schema = {"type": "object", "properties": {"spec": spec | {"x-kubernetes-validations": [validation]}}}
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": paths},
        "additionalPrinterColumns": [
            {"name": "A", "type": "string", "jsonPath": draw.choice([".spec.a", "$[", ".x[*]"])}
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.fuzz.example"},
        "spec": {
            "group": "fuzz.example",
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [version],
        },
    }


def policy(rule: str) -> Json:
    """A ValidatingAdmissionPolicy on ConfigMaps."""
    match = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["configmaps"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "x"},
        "spec": {
            "matchConstraints": {"resourceRules": [match]},
            "variables": [{"name": "x", "expression": rule}],
            "validations": [{"expression": rule, "messageExpression": rule}],
        },
    }


BINDING: Json = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicyBinding",
    "metadata": {"name": "x"},
    "spec": {"policyName": "x", "validationActions": ["Deny"]},
}
CUSTOM: Json = {
    "apiVersion": "fuzz.example/v1",
    "kind": "Thing",
    "metadata": {"name": "x"},
    "spec": {"a": "b", "b": [1, 2], "replicas": 2},
}


class Mutator:
    """Makes requests."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)

    def request(self) -> tuple[str, str, list[tuple[str, str]], bytes]:
        """Method, target with query, headers, body."""
        draw = self.draw
        method = draw.choice(METHODS)
        value, path = self._object()
        if draw.random() < 0.25:
            path = draw.choice(LOOSE)
        if draw.random() < 0.05:
            path = self._spoil_text(path)
        if method in ("POST",) and draw.random() < 0.7:
            path = path.removesuffix("/x")
        query = "&".join(
            f"{draw.choice(QUERIES)}={self._escape(draw.choice(WORDS))}" for _ in range(draw.choice([0, 0, 1, 3]))
        )
        media = draw.choice(MEDIA[3:7]) if method == "PATCH" else draw.choice(MEDIA[:3])
        if draw.random() < 0.08:
            media = draw.choice(MEDIA)
        headers = [("Content-Type", media), ("Accept", draw.choice(ACCEPT))]
        headers += self._identity()
        return method, path + (f"?{query}" if query else ""), headers, self._body(method, media, value)

    def _identity(self) -> list[tuple[str, str]]:
        draw, found = self.draw, []
        if draw.random() < 0.04:
            found.append(
                (draw.choice(["Impersonate-User", "Impersonate-Group", "Impersonate-Extra-x"]), draw.choice(WORDS))
            )
        if draw.random() < 0.03:
            found.append(
                (draw.choice(["If-None-Match", "Upgrade", "Range", "Expect", "X-Stream-Protocol-Version"]), "x")
            )
        return found

    def _object(self) -> tuple[Json, str]:
        draw = self.draw
        chosen = draw.random()
        if chosen < 0.1:
            value: Json = definition(self.expression(), draw)
        elif chosen < 0.2:
            value = draw.choice([policy(self.expression()), BINDING])
        elif chosen < 0.3:
            return self.spoil(CUSTOM), "/apis/fuzz.example/v1/namespaces/default/things/x"
        else:
            value = draw.choice(SAMPLES)
            if draw.random() < 0.3:
                kind = draw.choice([*KINDS.values()])
                if "Webhook" not in kind.name:
                    value = {**value, "kind": kind.name, "apiVersion": kind.api_version}
        return self.spoil(value), self._path(KINDS[value["kind"]])

    def _path(self, kind: Kind) -> str:
        draw = self.draw
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        space = "/namespaces/default" if kind.namespaced else ""
        name = "things.fuzz.example" if kind.name == "CustomResourceDefinition" else "x"
        sub = f"/{draw.choice(kind.subresources)}" if kind.subresources and draw.random() < 0.2 else ""
        return f"{root}{space}/{kind.plural}/{name}{sub}"

    def expression(self) -> str:
        """CEL, more or less."""
        draw = self.draw
        parts = [draw.choice(CEL)]
        for _ in range(draw.choice([0, 1, 1, 2, 4])):
            parts += [draw.choice(OPERATORS), draw.choice(CEL)]
        text = "".join(parts)
        return text if draw.random() < 0.8 else self._spoil_text(text)

    def spoil(self, value: Any) -> Any:
        """A copy with some parts replaced, removed, doubled."""
        draw, value = self.draw, copy.deepcopy(value)
        for _ in range(draw.choice([0, 0, 1, 1, 2, 4])):
            node = value
            while True:
                keys = list(node) if isinstance(node, dict) else list(range(len(node)))
                if not keys:
                    break
                key = draw.choice(keys)
                below = node[key]
                if isinstance(below, dict | list) and below and draw.random() < 0.75:
                    node = below
                    continue
                self._spoil_at(node, key)
                break
        return value

    def _spoil_at(self, node: Any, key: Any) -> None:
        draw = self.draw
        match draw.randrange(4):
            case 0 if isinstance(node, dict):
                del node[key]
            case 1 if isinstance(node, list):
                node.append(copy.deepcopy(node[key]))
            case 2 if isinstance(node, dict):
                node[draw.choice(WORDS)] = copy.deepcopy(draw.choice(LEAVES))
            case _:
                node[key] = copy.deepcopy(draw.choice(LEAVES))

    def _spoil_text(self, text: str) -> str:
        draw = self.draw
        at = draw.randrange(len(text) + 1)
        return text[:at] + draw.choice([*WORDS, "(", '"', "\\", "%", "%zz", "//"]) + text[at + draw.randrange(3) :]

    def _escape(self, text: str) -> str:
        from urllib.parse import quote

        return quote(text, safe="=,!*()/") if self.draw.random() < 0.95 else text.replace(" ", "").replace("\u0000", "")

    def _body(self, method: str, media: str, value: Any) -> bytes:
        draw = self.draw
        if method in ("GET", "HEAD") and draw.random() < 0.95:
            return b""
        if method == "DELETE":
            value = draw.choice(
                [{}, {"propagationPolicy": draw.choice(WORDS)}, {"preconditions": draw.choice(LEAVES)}, value]
            )
        if media == "application/json-patch+json":
            names = ("add", "remove", "replace", "move", "copy", "test", "nope")
            places = (
                "/metadata/labels/a",
                "/spec",
                "/spec/ports/0",
                "/spec/ports/-",
                "",
                "/",
                "/a~2",
                "/spec/x/y",
                "/metadata/name",
            )
            value = [
                {
                    "op": draw.choice(names),
                    "path": draw.choice(places),
                    "from": draw.choice(places),
                    "value": draw.choice(LEAVES),
                }
                for _ in range(draw.choice([0, 1, 3]))
            ]
        if "yaml" in media and draw.random() < 0.5:
            return self._yaml(value)
        data = self._json(value)
        if "protobuf" in media:
            data = b"k8s\x00" + self._protobuf(value, data)
        if draw.random() < 0.06:
            at = draw.randrange(len(data) + 1)
            data = data[:at] + draw.randbytes(draw.choice([1, 8])) + data[at + draw.randrange(4) :]
        if draw.random() < 0.004:
            data = b"[" * 100_000 if draw.random() < 0.5 else b'{"a":' * 50_000
        return data

    def _json(self, value: Any) -> bytes:
        return json.dumps(value).encode("utf-8", "surrogatepass")

    def _yaml(self, value: Any) -> bytes:
        import yaml

        draw = self.draw
        hostile = (
            b"a: &a [x]\nb: *a\n",
            b"? {a: b}\n: c\n",
            b"!!python/object:os.system x\n",
            b"a: 0o17\nb: 1_000\n",
            b"- - - -\n",
            b"%TAG\n",
        )
        return (
            draw.choice(hostile)
            if draw.random() < 0.1
            else yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "replace")
        )

    def _protobuf(self, value: Any, data: bytes) -> bytes:
        draw = self.draw

        def field(number: int, content: bytes) -> bytes:
            length, out = len(content), bytearray([number << 3 | 2])
            while length > 127:
                out.append(length & 127 | 128)
                length >>= 7
            return bytes(out) + bytes([length]) + content

        kind = value.get("kind", "") if isinstance(value, dict) else ""
        version = value.get("apiVersion", "") if isinstance(value, dict) else ""
        types = field(1, str(version).encode("utf-8", "replace")) + field(2, str(kind).encode("utf-8", "replace"))
        meta = field(1, field(1, b"x") + field(3, b"default") + field(11, field(1, b"a") + field(2, b"b")))
        raw = draw.choice(
            [meta, meta + field(2, field(1, b"a") + field(2, b"b")), draw.randbytes(draw.randrange(60)), data]
        )
        if draw.random() < 0.3:
            raw = raw[: draw.randrange(len(raw) + 1)] + draw.randbytes(3)
        return field(1, types) + field(2, raw)
