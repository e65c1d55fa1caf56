"""Kinds that are questions: nothing is stored, the answer is in ``status``.

TokenReview, SelfSubjectReview, SubjectAccessReview, SelfSubjectAccessReview, LocalSubjectAccessReview,
SelfSubjectRulesReview, and ``serviceaccounts/NAME/token``.

Spec: k8s pkg/registry/{authentication,authorization}, pkg/registry/core/serviceaccount/storage/token.go.
"""

from typing import Any, TypeVar

import msgspec

from podwire.apiserver.access import Access
from podwire.apiserver.chance import Chance, timestamp
from podwire.apiserver.identity import User
from podwire.apiserver.objects import Objects, key_of
from podwire.apiserver.rbac import Authorizer
from podwire.apiserver.status import bad_request, cause, conflict, invalid, not_found
from podwire.apiserver.tokens import BadToken, Tokens
from podwire.kube.meta import KubeObject
from podwire.kube.registry import Kind

Json = dict[str, Any]

_ONLY = ("create",)
_AUTHN, _AUTHZ = "authentication.k8s.io", "authorization.k8s.io"
REVIEWS = (
    Kind("SelfSubjectReview", _AUTHN, "v1", "selfsubjectreviews", KubeObject, False, verbs=_ONLY),
    Kind("TokenReview", _AUTHN, "v1", "tokenreviews", KubeObject, False, verbs=_ONLY),
    Kind("LocalSubjectAccessReview", _AUTHZ, "v1", "localsubjectaccessreviews", KubeObject, verbs=_ONLY),
    Kind("SelfSubjectAccessReview", _AUTHZ, "v1", "selfsubjectaccessreviews", KubeObject, False, verbs=_ONLY),
    Kind("SelfSubjectRulesReview", _AUTHZ, "v1", "selfsubjectrulesreviews", KubeObject, False, verbs=_ONLY),
    Kind("SubjectAccessReview", _AUTHZ, "v1", "subjectaccessreviews", KubeObject, False, verbs=_ONLY),
)
TOKEN_REQUEST = Kind("TokenRequest", _AUTHN, "v1", "tokenrequests", KubeObject)
MIN_SECONDS, MAX_SECONDS = 600, 1 << 32
DEFAULT_SECONDS = 3600
_BOUND_KINDS = {"Pod": "pod", "Secret": "secret", "Node": "node"}


class _Strict(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    pass


class _Resource(_Strict):
    namespace: str = ""
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    # RBAC does not look at selectors, in Kubernetes neither.
    field_selector: Json | None = None
    label_selector: Json | None = None


class _Path(_Strict):
    path: str = ""
    verb: str = ""


class _AccessSpec(_Strict):
    resource_attributes: _Resource | None = None
    non_resource_attributes: _Path | None = None
    user: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None
    uid: str = ""


class _RulesSpec(_Strict):
    namespace: str = ""


class _TokenSpec(_Strict):
    token: str = ""
    audiences: list[str] | None = None


class _Bound(_Strict):
    kind: str = ""
    api_version: str = ""
    name: str = ""
    uid: str = ""


class _RequestSpec(_Strict):
    audiences: list[str] | None = None
    expiration_seconds: int | None = None
    bound_object_ref: _Bound | None = None


T = TypeVar("T", bound=_Strict)


class Reviews:
    """Answers them."""

    def __init__(self, objects: Objects, authorizer: Authorizer, tokens: Tokens, chance: Chance) -> None:
        """Nothing is read yet."""
        self._objects = objects
        self._authorizer = authorizer
        self._tokens = tokens
        self._chance = chance

    def answer(self, kind: Kind, namespace: str, value: Json, user: User) -> Json:
        """The review with its status. Raises 400 and 422."""
        if (value.get("apiVersion"), value.get("kind")) != (kind.api_version, kind.name):
            raise bad_request(f"the object is no {kind.name} of {kind.api_version}")
        match kind.name:
            case "SelfSubjectReview":
                status: Json = {"userInfo": user.info()}
            case "TokenReview":
                status = self._review_token(kind, _spec(value, _TokenSpec))
            case "SelfSubjectRulesReview":
                status = self._list_rules(_spec(value, _RulesSpec), user)
            case name:
                spec = _spec(value, _AccessSpec)
                asker = user if name == "SelfSubjectAccessReview" else _subject(kind, spec)
                status = {"allowed": self._authorizer.allows(asker, _access(kind, spec, namespace))}
        return {**value, "metadata": value.get("metadata") or {}, "status": status}

    def _review_token(self, kind: Kind, spec: _TokenSpec) -> Json:
        if not spec.token:
            raise invalid(kind, "", [cause("FieldValueRequired", "Required value", "spec.token")])
        try:
            user, audiences = self._tokens.check(spec.token, spec.audiences or (), self._chance.now().timestamp())
        except BadToken as error:
            return {"user": {}, "error": f"[invalid bearer token, {error}]"}
        return {"authenticated": True, "user": user.info(), "audiences": audiences}

    def _list_rules(self, spec: _RulesSpec, user: User) -> Json:
        if not spec.namespace:
            raise bad_request("no namespace on request")
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        anywhere = {"verbs": ["*"], "nonResourceURLs": ["*"]}
        rules = [*self._authorizer.rules(user, spec.namespace)]
        if self._authorizer.lists_everything(user):
            rules = [everything, anywhere, *(rule for rule in rules if rule not in (everything, anywhere))]
        return {
            "resourceRules": [_without(rule, "nonResourceURLs") for rule in rules if rule.get("resources")],
            "nonResourceRules": [
                {"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]}
                for rule in rules
                if rule.get("nonResourceURLs")
            ],
            "incomplete": False,
        }

    # --- TokenRequest ---

    def request_token(self, namespace: str, name: str, value: Json, *, dry_run: bool) -> Json:
        """POST to ``serviceaccounts/NAME/token``. Raises 400, 404, 409, 422."""
        spec = _spec(value, _RequestSpec)
        account = self._objects.get("ServiceAccount", key_of(namespace, name))
        if account is None:
            raise not_found(self._objects.kinds.stored("ServiceAccount"), name)
        seconds = DEFAULT_SECONDS if spec.expiration_seconds is None else spec.expiration_seconds
        _check_seconds(seconds)
        audiences = spec.audiences or [self._tokens.issuer]
        bound = self._bound(namespace, name, spec.bound_object_ref) if spec.bound_object_ref else {}
        now = self._chance.now()
        issued = int(now.timestamp())
        until = issued + seconds
        token = self._tokens.issue(
            account, audiences=audiences, now=issued, until=until, token_id=self._chance.uid(), bound=bound
        )
        meta = {"name": name, "namespace": namespace, "creationTimestamp": timestamp(now)}
        spec_shown: Json = {"audiences": audiences, "expirationSeconds": seconds}
        spec_shown["boundObjectRef"] = (value.get("spec") or {}).get("boundObjectRef")
        status = {"token": "" if dry_run else token, "expirationTimestamp": _moment(until)}
        head = {"kind": "TokenRequest", "apiVersion": TOKEN_REQUEST.api_version}
        return {**head, "metadata": meta, "spec": spec_shown, "status": status}

    def _bound(self, namespace: str, account: str, wanted: _Bound) -> Json:
        word = _BOUND_KINDS.get(wanted.kind)
        if word is None or wanted.api_version != "v1":
            why = f'Invalid value: "{wanted.api_version}, Kind={wanted.kind}": cannot bind token to this type of object'
            raise invalid(TOKEN_REQUEST, account, [cause("FieldValueInvalid", why, "spec.boundObjectRef")])
        kind = self._objects.kinds.stored(wanted.kind)
        found = self._objects.get(wanted.kind, key_of(namespace if kind.namespaced else "", wanted.name))
        if found is None:
            raise not_found(kind, wanted.name)
        uid = found["metadata"]["uid"]
        if wanted.uid and wanted.uid != uid:
            why = f"the UID in the bound object reference ({wanted.uid}) does not match the UID in record"
            raise conflict(kind, wanted.name, f"{why}. The object might have been deleted and then recreated")
        bound: Json = {word: {"name": wanted.name, "uid": uid}}
        if wanted.kind == "Pod":
            bound |= self._node_of(account, found)
        return bound

    def _node_of(self, account: str, pod: Json) -> Json:
        spec, name = pod.get("spec") or {}, pod["metadata"]["name"]
        if (spec.get("serviceAccountName") or "default") != account:
            why = f'Invalid value: "{name}": cannot bind token for serviceaccount "{account}" to pod running with '
            why += f'different serviceaccount name "{spec.get("serviceAccountName") or "default"}"'
            raise bad_request(why)
        node = self._objects.get("Node", spec.get("nodeName") or "")
        return {"node": {"name": spec["nodeName"], "uid": node["metadata"]["uid"]}} if node else {}


def _check_seconds(seconds: int) -> None:
    why = ""
    if seconds < MIN_SECONDS:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > MAX_SECONDS:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        text = f"Invalid value: {seconds}: {why}"
        raise invalid(TOKEN_REQUEST, "", [cause("FieldValueInvalid", text, "spec.expirationSeconds")])


def _spec(value: Json, type_: type[T]) -> T:
    try:
        return msgspec.convert(value.get("spec") or {}, type_)
    except msgspec.ValidationError as error:
        raise bad_request(f"{value.get('kind')} cannot be read: spec: {error}") from error


def _subject(kind: Kind, spec: _AccessSpec) -> User:
    if not spec.user and not spec.groups:
        why = 'Invalid value: "": at least one of user or group must be specified'
        raise invalid(kind, "", [cause("FieldValueInvalid", why, "spec.user")])
    extra = {key: tuple(words) for key, words in (spec.extra or {}).items()}
    return User(name=spec.user, groups=tuple(spec.groups or ()), uid=spec.uid, extra=extra)


def _access(kind: Kind, spec: _AccessSpec, namespace: str) -> Access:
    wanted, path = spec.resource_attributes, spec.non_resource_attributes
    if (wanted is None) == (path is None):
        why = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise invalid(kind, "", [cause("FieldValueInvalid", why, "spec.resourceAttributes")])
    if path is not None:
        return Access(verb=path.verb, path=path.path)
    assert wanted is not None
    if kind.namespaced and wanted.namespace != namespace:
        why = f'Invalid value: "{wanted.namespace}": must match metadata.namespace'
        raise invalid(kind, "", [cause("FieldValueInvalid", why, "spec.resourceAttributes.namespace")])
    return Access(
        verb=wanted.verb,
        group=wanted.group,
        resource=wanted.resource,
        subresource=wanted.subresource,
        namespace=wanted.namespace,
        name=wanted.name,
    )


def _without(rule: Json, *fields: str) -> Json:
    return {key: value for key, value in rule.items() if key not in fields}


def _moment(seconds: int) -> str:
    from datetime import UTC, datetime

    return timestamp(datetime.fromtimestamp(min(seconds, 253402300799), UTC))
