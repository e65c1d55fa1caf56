"""What makes a MutatingWebhookConfiguration or ValidatingWebhookConfiguration invalid.

``AdmissionReview`` v1 is the only form spoken here: a webhook that knows only v1beta1 is refused, not left unasked.

Spec: k8s:pkg/apis/admissionregistration/validation/validation.go; apiserver pkg/util/webhook/validation.go.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from podwire.kube.names import dns_label_problems, dns_subdomain_problems
from podwire.kube.validate.errors import Errors, duplicate, each_invalid, invalid, not_supported, required
from podwire.kube.validate.meta import check_selector

Obj = dict[str, Any]

OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SCOPES = ("*", "Cluster", "Namespaced")
SIDE_EFFECTS = ("None", "NoneOnDryRun")
REVIEW_VERSIONS = ("v1",)
MAX_CONDITIONS = 64
_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "failurePolicy": ("Fail", "Ignore"),
        "matchPolicy": ("Equivalent", "Exact"),
        "reinvocationPolicy": ("IfNeeded", "Never"),
    }
)
_FORM = "; desired format: https://host[/path]"


def check_webhooks(obj: Obj, old: Obj | None) -> Errors:
    """Every webhook of a configuration of either kind."""
    names: set[str] = set()
    before = {hook.get("name"): hook for hook in (old or {}).get("webhooks") or ()}
    for index, hook in enumerate(obj.get("webhooks") or ()):
        where, name = f"webhooks[{index}]", hook.get("name") or ""
        yield from _name(name, f"{where}.name")
        yield from _webhook(hook, where)
        yield from _conditions(hook, before.get(name), f"{where}.matchConditions")
        yield from _versions(hook.get("admissionReviewVersions") or (), f"{where}.admissionReviewVersions")
        if name and name in names:
            yield duplicate(f"{where}.name", name)
        names.add(name)


def _name(name: str, where: str) -> Errors:
    if not name:
        yield required(where)
        return
    yield from each_invalid(where, name, dns_subdomain_problems(name))
    if name.count(".") < 2:
        yield invalid(where, name, "should be a domain with at least three segments separated by dots")


def _webhook(hook: Obj, where: str) -> Errors:
    for index, rule in enumerate(hook.get("rules") or ()):
        yield from check_rule(rule, f"{where}.rules[{index}]", operations=OPERATIONS)
    for field, words in _WORDS.items():
        if hook.get(field) is not None and hook[field] not in words:
            yield not_supported(f"{where}.{field}", hook[field], words)
    effects = hook.get("sideEffects")
    if effects is None:
        yield required(f"{where}.sideEffects", f"must specify one of {', '.join(SIDE_EFFECTS)}")
    elif effects not in SIDE_EFFECTS:
        yield not_supported(f"{where}.sideEffects", effects, SIDE_EFFECTS)
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        yield invalid(f"{where}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds")
    yield from check_selector(hook.get("namespaceSelector"), f"{where}.namespaceSelector")
    yield from check_selector(hook.get("objectSelector"), f"{where}.objectSelector")
    yield from _client(hook.get("clientConfig") or {}, f"{where}.clientConfig")


def check_rule(rule: Obj, where: str, *, operations: Sequence[str]) -> Errors:
    """Operations, groups, versions, resources and scope."""
    for field, shown in (("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")):
        words = rule.get(field) or []
        if not words:
            yield required(f"{where}.{field}")
        if len(words) > 1 and "*" in words:
            yield invalid(f"{where}.{field}", words, f"if '*' is present, must not specify other {shown}")
    for index, word in enumerate(rule.get("operations") or ()):
        if word not in operations:
            yield not_supported(f"{where}.operations[{index}]", word, operations)
    for index, word in enumerate(rule.get("apiVersions") or ()):
        if not word:
            yield required(f"{where}.apiVersions[{index}]")
    yield from _resources(rule.get("resources") or [], f"{where}.resources")
    if rule.get("scope") is not None and rule["scope"] not in SCOPES:
        yield not_supported(f"{where}.scope", rule["scope"], SCOPES)


def _resources(words: Sequence[str], where: str) -> Errors:
    if not words:
        yield required(where)
    every_sub: set[str] = set()
    every_resource: set[str] = set()
    for index, word in enumerate(words):
        if not word:
            yield required(f"{where}[{index}]")
            continue
        resource, slash, sub = word.partition("/")
        if not slash:
            continue
        if resource in every_sub:
            yield invalid(f"{where}[{index}]", word, f"if '{resource}/*' is present, must not specify {word}")
        if sub in every_resource:
            yield invalid(f"{where}[{index}]", word, f"if '*/{sub}' is present, must not specify {word}")
        if sub == "*":
            every_sub.add(resource)
        if resource == "*":
            every_resource.add(sub)
    if len(words) > 1 and "*/*" in words:
        yield invalid(where, list(words), "if '*/*' is present, must not specify other resources")
    if "*" in words and any("/" not in word and word != "*" for word in words):
        why = "if '*' is present, must not specify other resources without subresources"
        yield invalid(where, list(words), why)


def _client(config: Obj, where: str) -> Errors:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield required(where, "exactly one of url or service is required")
    elif url is not None:
        yield from _url(url, f"{where}.url")
    elif service is not None:
        yield from _service(service, f"{where}.service")


def _url(text: str, where: str) -> Errors:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        yield required(where, f"url must be a valid URL: {error}{_FORM}")
        return
    if parts.scheme != "https":
        yield invalid(where, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}")
    if not host:
        yield invalid(where, "", f"host must be provided{_FORM}")
    if "@" in parts.netloc:
        yield invalid(where, parts.netloc.rpartition("@")[0], "user information is not permitted in the URL")
    if parts.fragment:
        yield invalid(where, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield invalid(where, parts.query, "query parameters are not permitted in the URL")
    if any(ord(letter) <= 32 or ord(letter) > 126 for letter in text):
        yield invalid(where, text, f"url must be a valid URL: invalid character in URL{_FORM}")


def _service(service: Obj, where: str) -> Errors:
    for field in ("name", "namespace"):
        if not service.get(field):
            yield required(f"{where}.{field}", f"service {field} is required")
    port, path = service.get("port"), service.get("path")
    if port is not None and not 1 <= port <= 65535:
        yield invalid(f"{where}.port", port, "port is not valid: must be between 1 and 65535, inclusive")
    if path in (None, "", "/"):
        return
    assert isinstance(path, str)
    if path == "//":
        yield invalid(f"{where}.path", path, "segment[0] may not be empty")
        return
    if not path.startswith("/"):
        yield invalid(f"{where}.path", path, "must start with a '/'")
    for index, step in enumerate(path[1:].removesuffix("/").split("/")):
        if not step:
            yield invalid(f"{where}.path", path, f"segment[{index}] may not be empty")
            continue
        yield from each_invalid(
            f"{where}.path", path, (f"segment[{index}]: {why}" for why in dns_subdomain_problems(step))
        )


def _conditions(hook: Obj, old: Obj | None, where: str) -> Errors:
    conditions = hook.get("matchConditions") or []
    if not conditions or (old is not None and old.get("matchConditions") == conditions):
        return
    from podwire.kube.cel_policy import check_expression  # CEL is loaded with the first condition

    if len(conditions) > MAX_CONDITIONS:
        yield invalid(where, len(conditions), f"must have at most {MAX_CONDITIONS} items")
    names: set[str] = set()
    for index, condition in enumerate(conditions):
        field, name = f"{where}[{index}]", condition.get("name") or ""
        if not name:
            yield required(f"{field}.name")
        elif name in names:
            yield duplicate(f"{field}.name", name)
        names.add(name)
        yield from check_expression(condition.get("expression") or "", f"{field}.expression", "bool")


def _versions(versions: Sequence[str], where: str) -> Errors:
    if not versions:
        yield required(where, f"must specify one of {', '.join(REVIEW_VERSIONS)}")
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            yield invalid(f"{where}[{index}]", version, "duplicate version")
        else:
            yield from each_invalid(f"{where}[{index}]", version, dns_label_problems(version))
    if not set(versions) & set(REVIEW_VERSIONS):
        yield invalid(where, list(versions), f"must include at least one of {', '.join(REVIEW_VERSIONS)}")
