"""The authoriser: RBAC over the stored Roles, ClusterRoles and their bindings.

Rules:

1. Members of ``system:masters`` may do everything and are never looked up.
2. A ClusterRoleBinding grants everywhere, a RoleBinding in its namespace; rules only add, nothing denies.
3. What a subject may do is compiled from the committed objects and kept until one of the four kinds changes.
4. Nobody may give away more than they have: writing a role needs its rules (or ``escalate``), writing a binding needs
   the rules of its role (or ``bind``).
5. ClusterRoles with an aggregationRule hold the rules of those they select, in order of name.

Spec: k8s plugin/pkg/auth/authorizer/rbac/rbac.go, pkg/registry/rbac/{validation,escalation_check.go},
pkg/controller/clusterroleaggregation.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from podwire.apiserver.access import Access, refused
from podwire.apiserver.identity import MASTERS, User
from podwire.apiserver.objects import Objects, key_of
from podwire.apiserver.status import failure
from podwire.kube.meta import LabelSelector, selects
from podwire.kube.registry import Kind

Json = dict[str, Any]

GROUP = "rbac.authorization.k8s.io"
KINDS_OF_RBAC = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
_EVERYTHING: Json = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
_ACCOUNT = "system:serviceaccount:"


class Grant(msgspec.Struct, frozen=True):
    """Rules given in a namespace (empty: everywhere)."""

    namespace: str
    rules: tuple[Json, ...]


class Authorizer:
    """Decides. ``always`` allows everything to everybody who is known."""

    def __init__(self, objects: Objects, *, always: bool = False) -> None:
        """Nothing is read before the first question."""
        self._objects = objects
        self._store = objects.store
        self._always = always
        self._seen: tuple[int, ...] = ()
        self._grants: dict[str, list[Grant]] = {}

    def permit(self, user: User, access: Access) -> None:
        """Raise 403 unless allowed."""
        if not self.allows(user, access):
            raise refused(user, access)

    def allows(self, user: User, access: Access) -> bool:
        """Whether the user may."""
        if self._always or MASTERS in user.groups:
            return True
        return any(covers(rule, access) for rule in self.rules(user, access.namespace))

    def rules(self, user: User, namespace: str) -> Iterator[Json]:
        """Every rule that holds for the user in a namespace; with an empty one, those that hold everywhere."""
        self._refresh()
        for subject in (f"User {user.name}", *(f"Group {group}" for group in user.groups)):
            for grant in self._grants.get(subject, ()):
                if not grant.namespace or grant.namespace == namespace:
                    yield from grant.rules

    def lists_everything(self, user: User) -> bool:
        """Whether the user needs no rule at all."""
        return self._always or MASTERS in user.groups

    def guard(self, user: User, kind: Kind, new: Json, old: Json | None) -> None:
        """Rule 4 for anything about to be written. Raises 403."""
        if kind.group != GROUP or self._always or MASTERS in user.groups:
            return
        if "roleRef" in new:
            if old is None or new.get("subjects") != old.get("subjects") or new["roleRef"] != old.get("roleRef"):
                self.check_binding(user, new)
        elif old is None or any(new.get(part) != old.get(part) for part in ("rules", "aggregationRule")):
            self.check_role(user, new)

    def check_role(self, user: User, role: Json) -> None:
        """Rule 4 for a Role or ClusterRole about to be written. Raises 403."""
        kind, meta = role["kind"], role["metadata"]
        access = _access(kind, meta, "escalate")
        if not self.allows(user, access):
            if role.get("aggregationRule"):
                self._require(user, kind, meta, (_EVERYTHING,))
            self._require(user, kind, meta, role.get("rules") or ())

    def check_binding(self, user: User, binding: Json) -> None:
        """Rule 4 for a binding about to be written. Raises 403."""
        meta, reference = binding["metadata"], binding.get("roleRef") or {}
        namespace = meta.get("namespace", "")
        named = {"name": reference.get("name", ""), "namespace": namespace}
        if not self.allows(user, _access(str(reference.get("kind")), named, "bind")):
            self._require(user, binding["kind"], meta, self._rules_of(reference, namespace))

    def _require(self, user: User, kind: str, meta: Json, rules: Iterable[Json]) -> None:
        namespace = meta.get("namespace", "")
        held = [*self.rules(user, namespace)]
        missing = [rule for rule in rules if not all(_held(held, one) for one in _singles(rule))]
        if missing:
            raise _escalation(user, kind, meta["name"], missing)

    # --- the compiled grants ---

    def _refresh(self) -> None:
        newest = tuple(self._store.revision_of(kind) for kind in KINDS_OF_RBAC)
        if newest == self._seen:
            return
        self._seen, self._grants = newest, {}
        for kind in ("ClusterRoleBinding", "RoleBinding"):
            for _, item in self._store.items(kind):
                self._grant(item.value)

    def _grant(self, binding: Json) -> None:
        namespace = binding["metadata"].get("namespace", "")
        rules = tuple(self._rules_of(binding.get("roleRef") or {}, namespace))
        if not rules:
            return
        for subject in binding.get("subjects") or ():
            self._grants.setdefault(_subject(subject, namespace), []).append(Grant(namespace, rules))

    def _rules_of(self, reference: Json, namespace: str) -> Iterable[Json]:
        cluster = reference.get("kind") == "ClusterRole"
        key = reference.get("name", "") if cluster else key_of(namespace, reference.get("name", ""))
        found = self._store.get("ClusterRole" if cluster else "Role", key)
        return (found.value.get("rules") or ()) if found else ()


def _subject(subject: Json, namespace: str) -> str:
    if subject.get("kind") == "ServiceAccount":
        return f"User {_ACCOUNT}{subject.get('namespace') or namespace}:{subject.get('name', '')}"
    return f"{subject.get('kind')} {subject.get('name', '')}"


def _access(kind: str, meta: Json, verb: str) -> Access:
    resource = "clusterroles" if kind == "ClusterRole" else "roles"
    where = meta.get("namespace", "")
    return Access(verb=verb, group=GROUP, resource=resource, namespace=where, name=meta.get("name", ""))


def covers(rule: Json, access: Access) -> bool:
    """Whether one PolicyRule allows it."""
    verbs = rule.get("verbs") or ()
    if access.verb not in verbs and "*" not in verbs:
        return False
    if access.path:
        return any(_path_matches(wanted, access.path) for wanted in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if access.group not in groups and "*" not in groups:
        return False
    names = rule.get("resourceNames")
    return _resource_matches(rule.get("resources") or (), access) and (not names or access.name in names)


def _resource_matches(resources: Iterable[str], access: Access) -> bool:
    wanted = access.full_resource
    any_sub = f"*/{access.subresource}" if access.subresource else wanted
    return any(resource in ("*", wanted, any_sub) for resource in resources)


def _path_matches(wanted: str, path: str) -> bool:
    return wanted in ("*", path) or (wanted.endswith("*") and path.startswith(wanted[:-1]))


# --- rule 4: rules split into single permissions ---


def _singles(rule: Json) -> Iterator[Json]:
    """The rule as rules of one verb and one resource (or path, or name) each."""
    for verb in rule.get("verbs") or ():
        for path in rule.get("nonResourceURLs") or ():
            yield {"verbs": [verb], "nonResourceURLs": [path]}
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                base = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
                names = rule.get("resourceNames") or ()
                yield from ({**base, "resourceNames": [name]} for name in names)
                if not names:
                    yield base


def _held(held: Iterable[Json], one: Json) -> bool:
    (verb,) = one["verbs"]
    if paths := one.get("nonResourceURLs"):
        return any(covers(rule, Access(verb=verb, path=paths[0])) for rule in held)
    resource, _, subresource = one["resources"][0].partition("/")
    names = one.get("resourceNames")
    access = Access(
        verb=verb,
        group=one["apiGroups"][0],
        resource=resource,
        subresource=subresource,
        name=names[0] if names else "",
    )
    return any(covers(rule, access) and (names or not rule.get("resourceNames")) for rule in held)


def _escalation(user: User, kind: str, name: str, missing: list[Json]) -> Exception:
    words = "\n".join(_described(rule) for rule in missing)
    plural = f"{kind.lower()}s"
    who = f'user "{user.name}" (groups={_quoted_list(user.groups)})'
    text = f"{who} is attempting to grant RBAC permissions not currently held:\n{words}"
    details = {"name": name, "group": GROUP, "kind": plural}
    return failure(403, "Forbidden", f'{plural}.{GROUP} "{name}" is forbidden: {text}', details=details)


def _described(rule: Json) -> str:
    names = (("APIGroups", "apiGroups"), ("Resources", "resources"), ("ResourceNames", "resourceNames"))
    parts = [f"{word}:{_quoted_list(rule[key])}" for word, key in names if rule.get(key)]
    if rule.get("nonResourceURLs"):
        parts.append(f"NonResourceURLs:{_quoted_list(rule['nonResourceURLs'])}")
    return "{" + ", ".join([*parts, f"Verbs:{_quoted_list(rule.get('verbs') or ())}"]) + "}"


def _quoted_list(words: Iterable[str]) -> str:
    return "[" + " ".join(f'"{word}"' for word in words) + "]"


# --- rule 5 ---


def aggregate(objects: Objects) -> int:
    """Write the rules of every aggregated ClusterRole that changed; returns the newest revision written, else 0."""
    roles = [value for _, value in sorted(objects.store.heads("ClusterRole"))]
    newest = 0
    for role in roles:
        selectors = (role.get("aggregationRule") or {}).get("clusterRoleSelectors")
        if not selectors:
            continue
        chosen = [msgspec.convert(selector, LabelSelector) for selector in selectors]
        rules = _collected(role, roles, chosen)
        if rules != (role.get("rules") or []):
            newest = objects.put("ClusterRole", role["metadata"]["name"], {**role, "rules": rules}).rv
    return newest


def _collected(role: Json, roles: Iterable[Json], chosen: Iterable[LabelSelector]) -> list[Json]:
    rules: list[Json] = []
    for selector in chosen:
        for other in roles:
            labels = other["metadata"].get("labels") or {}
            if other["metadata"]["name"] != role["metadata"]["name"] and selects(selector, labels):
                rules.extend(rule for rule in other.get("rules") or () if rule not in rules)
    return rules
