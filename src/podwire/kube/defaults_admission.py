"""Defaults of admission webhooks.

Spec: k8s:pkg/apis/admissionregistration/v1/defaults.go.
"""

from typing import Any

from podwire.kube.edit import each, fill, put

Obj = dict[str, Any]

TIMEOUT_SECONDS = 10


def default_validating(obj: Obj) -> Obj:
    """A ValidatingWebhookConfiguration."""
    return each(obj, "webhooks", _webhook)


def default_mutating(obj: Obj) -> Obj:
    """A MutatingWebhookConfiguration."""
    return each(each(obj, "webhooks", _webhook), "webhooks", lambda hook: fill(hook, {"reinvocationPolicy": "Never"}))


def _webhook(hook: Obj) -> Obj:
    hook = fill(
        each(hook, "rules", lambda rule: fill(rule, {"scope": "*"})),
        {
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "namespaceSelector": {},
            "objectSelector": {},
            "timeoutSeconds": TIMEOUT_SECONDS,
        },
    )
    config = hook.get("clientConfig") or {}
    if not config.get("service"):
        return hook
    return put(hook, "clientConfig", put(config, "service", fill(config["service"], {"port": 443})))
