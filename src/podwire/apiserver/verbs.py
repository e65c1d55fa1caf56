"""Writes: create, update, patch, delete, bind, scale, with admission, defaults, validation and optimistic concurrency.

Rules:

1. A verb runs in one turn of the event loop on the head of the store, so nothing can come between its look and its
   write. It is durable after ``await store.settled(outcome.rv)``.
2. A resourceVersion in the body is a condition (409); none is an unconditional update.
3. ``dry_run`` goes the whole way but for the store and the allocator.
4. Admission webhooks are asked between the runs of a verb, never during one (``webhooks/reviewed.py``).
5. Strict: unknown fields are refused; Warn: named in warnings; Ignore: dropped in silence. What is stored never holds
   a field the kind does not have.

Spec: k8s staging/src/k8s.io/apiserver/pkg/registry/{rest,generic/registry}.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from podwire.apiserver.admission import admit, fill_namespace, needed_in_namespace
from podwire.apiserver.attempt import Attempt, Reviewer
from podwire.apiserver.chance import Chance, timestamp
from podwire.apiserver.eviction import evict
from podwire.apiserver.identity import AUTHENTICATED, MASTERS, User, service_account_user
from podwire.apiserver.limitrange import limit_pod
from podwire.apiserver.objects import Objects, key_of
from podwire.apiserver.patching import By, apply_patch, track_update
from podwire.apiserver.podadmission import admit_pod, check_class
from podwire.apiserver.quota import Quotas
from podwire.apiserver.rbac import aggregate
from podwire.apiserver.reaper import Deleted, DeleteOptions, Reaper
from podwire.apiserver.status import (
    StatusError,
    already_exists,
    bad_request,
    cause,
    conflict,
    internal,
    invalid,
    not_found,
)
from podwire.apiserver.strategy import bump_generation, prepare_create, prepare_update, same, with_meta
from podwire.kube.registry import KINDS, Kind

if TYPE_CHECKING:
    from podwire.apiserver.webhooks.hooks import Hooks

T = TypeVar("T")
Json = dict[str, Any]
Guard = Callable[[User, Kind, Json, Json | None], None]
"""Refuses (403) what a user may not write although the verb is allowed."""

ADMIN = User(name="kubernetes-admin", groups=(MASTERS, AUTHENTICATED))
"""Who writes what ``podwire up -f`` reads."""
CONTROLLER = service_account_user("kube-system", "podwire-controller")
"""Who webhooks are told writes what podwire itself decides: pods of a ReplicaSet, EndpointSlices, status."""

CREATE_BY_PUT = frozenset({"Service", "Endpoints", "Event"})
APPLY = "application/apply-patch+yaml"
SUFFIX_TRIES = 8


class WriteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to write. An empty ``manager`` leaves managedFields alone."""

    manager: str = ""
    dry_run: bool = False
    field_validation: str = "Ignore"
    force: bool = False
    user: User | None = None
    """Who writes; None is podwire itself."""
    through: str = ""
    """The subresource whose name managedFields keep, when the write itself is one to the object (scale)."""
    review: Reviewer | None = None
    """What webhooks said so far; None: they are not asked."""
    verb: str = ""
    """``Patch`` when that is what the request was: webhooks are told."""
    tracked: bool = False
    """managedFields are done: what webhooks changed afterwards belongs to nobody."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The object as written, the revision to wait for, and what to tell the client."""

    value: Json
    rv: int
    created: bool = False
    warnings: tuple[str, ...] = ()


class Verbs:
    """The writes."""

    def __init__(self, objects: Objects, chance: Chance, *, root_certificate: str = "") -> None:
        """``root_certificate`` (PEM) is published as ConfigMap ``kube-root-ca.crt`` in every namespace."""
        self.objects = objects
        self._chance = chance
        self._root_certificate = root_certificate
        self.reaper = Reaper(objects, chance)
        self.guard: Guard | None = None
        self.make_hooks: Callable[[], Hooks] | None = None
        self._hooks: Hooks | None = None
        self._quotas = Quotas(objects)

    async def reviewed(self, options: WriteOptions, write: Callable[[WriteOptions], T]) -> T:
        """``write(options)``, which calls verbs with the options it is given, with admission webhooks asked. Raises
        what they deny with, 500 (one cannot be asked), 504."""
        store = self.objects.store
        configured = store.items("MutatingWebhookConfiguration") or store.items("ValidatingWebhookConfiguration")
        if self.make_hooks is None or not configured:
            return write(options)
        from podwire.apiserver.webhooks.reviewed import reviewed

        self._hooks = self._hooks or self.make_hooks()
        return await reviewed(self._hooks, self._chance, options, write)

    def create(self, kind: Kind, namespace: str, value: Json, options: WriteOptions) -> Outcome:
        """POST. Raises :class:`StatusError` 400, 403, 404 (no such namespace), 409 (exists), 422."""
        value, warnings = self._accept(kind, namespace, value, options)
        if value["metadata"].get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        value, options, warned = self._mutate(kind, namespace, value, None, options=options)
        warnings += warned
        value = self._name(kind, namespace, value, options)
        name = value["metadata"]["name"]
        admit(self.objects, kind, namespace, name)
        key = key_of(namespace, name)
        if name and self.objects.get(kind.stored, key) is not None:
            raise already_exists(kind, name)
        value = self._default(kind, prepare_create(kind, self._born(kind, value, options)))
        if kind.stored == "Pod":
            value = admit_pod(self.objects, kind, limit_pod(self.objects, kind, value))
        if kind.stored == "PriorityClass":
            check_class(self.objects, value)
        if kind.stored == "Service":
            self._check_fields(kind, value, None)
            value = self._assign(key, value, None, options)
        self._check_fields(kind, value, None)
        self._check_user(kind, value, None, options)
        value = self._track(kind, value, None, options=options, subresource="")
        warnings += self._judge(kind, value, None, options)
        self._quotas.check(kind, value, None)
        warnings += self._review(kind, value, None, options)
        if options.dry_run:
            return Outcome(value=value, rv=0, created=True, warnings=warnings)
        item = self.objects.put(kind.stored, key, value)
        if kind.stored == "ClusterRole":
            aggregate(self.objects)
        if kind.stored == "Namespace":
            self._furnish(name)
        self.reaper.after_create(kind, key, item.value)
        return Outcome(value=item.value, rv=item.rv, created=True, warnings=warnings)

    def update(
        self, kind: Kind, namespace: str, value: Json, options: WriteOptions, *, name: str, subresource: str = ""
    ) -> Outcome:
        """PUT to the object or a subresource. Raises as :meth:`create`, and 409 when the object moved on."""
        found = (value.get("metadata") or {}).get("name") if isinstance(value.get("metadata"), dict) else None
        if found != name:
            wrong = f"the name of the object ({found or ''}) does not match the name on the URL ({name})"
            raise bad_request(wrong if found else "the name of the object must be set")
        if (
            self.objects.get(kind.stored, key_of(namespace, name)) is None
            and kind.stored in CREATE_BY_PUT
            and not subresource
        ):
            return self.create(kind, namespace, value, options)
        value, warnings = self._accept(kind, namespace, value, options)
        return self._replace(kind, key_of(namespace, name), value, options, subresource=subresource, warnings=warnings)

    def patch(
        self,
        kind: Kind,
        key: str,
        *,
        content_type: str,
        body: bytes,
        options: WriteOptions,
        subresource: str = "",
    ) -> Outcome:
        """PATCH of any type. Raises what the patch rules and :meth:`update` raise."""
        namespace, _, name = key.rpartition("/")
        current = self.objects.get(kind.stored, key)
        applied = content_type == APPLY
        if current is None and not (applied and not subresource):
            raise not_found(kind, name)
        if current is not None:
            current = self.objects.kinds.meaning(kind).present(kind, current)
        value = apply_patch(
            self.objects.kinds.meaning(kind).patch_kind(kind),
            content_type,
            body,
            current=current,
            by=By(manager=options.manager, subresource=subresource, now=self._now(options), force=options.force),
        )
        if current is None:
            return self._create_applied(kind, namespace, name, value, options=options)
        if value["metadata"].get("name", name) != name:
            raise bad_request(f"the name of the object does not match the name on the URL ({name})")
        value, warnings = self._accept(kind, namespace, value, options)
        quiet = msgspec.structs.replace(options, manager="") if applied else options
        return self._replace(kind, key, value, quiet, subresource=subresource, warnings=warnings)

    def merge(self, kind: Kind, key: str, patch: Json, options: WriteOptions, *, subresource: str = "") -> Outcome:
        """A merge patch whose body is a value (the engine's way)."""
        current = self.objects.get(kind.stored, key)
        if current is None:
            raise not_found(kind, key.rpartition("/")[2])
        merged = merge_values(current, patch)
        value, warnings = self._accept(kind, key.rpartition("/")[0], merged, options)
        return self._replace(kind, key, value, options, subresource=subresource, warnings=warnings)

    def delete(self, kind: Kind, key: str, options: DeleteOptions) -> Deleted:
        """DELETE one object."""
        deleted = self.reaper.delete(kind, key, options)
        if kind.stored == "ClusterRole" and not options.dry_run:
            aggregate(self.objects)
        return deleted

    def evict(self, key: str, options: DeleteOptions) -> Deleted:
        """POST to ``pods/eviction``. Raises 404, 429 (a PodDisruptionBudget forbids it), 500 (two of them)."""
        return evict(self.objects, self.reaper, key, options, now=self._chance.now())

    def bind(self, namespace: str, name: str, *, node: str, uid: str = "", dry_run: bool = False) -> Outcome:
        """POST to ``pods/binding``: put a pod on a node. Raises 404, 409 (another pod, or bound already), 422."""
        kind, key = KINDS["Pod"], key_of(namespace, name)
        pod = self.objects.get("Pod", key)
        if pod is None:
            raise not_found(kind, name)
        meta, spec = pod["metadata"], pod.get("spec", {})
        if not node:
            raise invalid(kind, name, [cause("FieldValueRequired", "Required value", "target.name")])
        if uid and uid != meta["uid"]:
            raise conflict(
                kind, name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {meta['uid']}"
            )
        if meta.get("deletionTimestamp"):
            raise conflict(kind, name, f"pod {name} is being deleted, cannot be assigned to a host")
        if spec.get("nodeName"):
            raise conflict(kind, name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
        status = pod.get("status", {})
        others = [c for c in status.get("conditions", ()) if c.get("type") != "PodScheduled"]
        status = {k: v for k, v in status.items() if k != "nominatedNodeName"}
        scheduled = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(self._chance.now()),
        }
        bound = {
            **pod,
            "spec": {**spec, "nodeName": node},
            "status": {**status, "conditions": [*others, {k: v for k, v in scheduled.items() if v is not None}]},
        }
        if dry_run:
            return Outcome(value=bound, rv=0)
        item = self.objects.put("Pod", key, bound)
        return Outcome(value=item.value, rv=item.rv)

    # --- steps ---

    def _accept(self, kind: Kind, namespace: str, value: Json, options: WriteOptions) -> tuple[Json, tuple[str, ...]]:
        """A value whose types are those of the kind, without unknown fields."""
        if value.get("kind") != kind.name or value.get("apiVersion") != kind.api_version:
            raise bad_request(
                f"the API version in the data ({value.get('apiVersion') or ''}, Kind={value.get('kind') or ''})"
                f" does not match the expected API version ({kind.api_version}, Kind={kind.name})"
            )
        meaning = self.objects.kinds.meaning(kind)
        if error := meaning.type_errors(kind, value):
            raise bad_request(error)
        warnings: tuple[str, ...] = ()
        if options.field_validation in ("Strict", "Warn"):
            words = [f'unknown field "{path}"' for path in meaning.unknown_fields(kind, value)]
            if words and options.field_validation == "Strict":
                raise bad_request(strict_error(kind, words))
            warnings = tuple(words)
        return fill_namespace(kind, namespace, meaning.prune(kind, value)), warnings

    def _name(self, kind: Kind, namespace: str, value: Json, options: WriteOptions) -> Json:
        meta = value["metadata"]
        base = meta.get("generateName")
        if meta.get("name") or not base:
            return {**value, "metadata": {**meta, "name": meta.get("name", "")}}
        for _ in range(SUFFIX_TRIES):
            name = base[:58] + self._luck(options).suffix()
            if self.objects.get(kind.stored, key_of(namespace, name)) is None:
                return with_meta(value, name=name)
        raise already_exists(kind, base)

    def _born(self, kind: Kind, value: Json, options: WriteOptions) -> Json:
        """System metadata of a new object."""
        gone = dict.fromkeys(("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"))
        generation = 1 if self.objects.kinds.meaning(kind).has_generation(kind) else None
        luck = self._luck(options)
        born = timestamp(luck.now())
        return with_meta(value, uid=luck.uid(), creationTimestamp=born, generation=generation, **gone)

    def _create_applied(self, kind: Kind, namespace: str, name: str, value: Json, *, options: WriteOptions) -> Outcome:
        if value["metadata"].get("name", name) != name:
            raise bad_request(f"the name of the object does not match the name on the URL ({name})")
        if value["metadata"].get("uid"):
            why = "uid mismatch: the provided object specified uid, and no existing object was found"
            raise conflict(kind, name, why)
        quiet = msgspec.structs.replace(options, manager="")
        return self.create(kind, namespace, with_meta(value, name=name), quiet)

    def _replace(
        self, kind: Kind, key: str, value: Json, options: WriteOptions, *, subresource: str, warnings: tuple[str, ...]
    ) -> Outcome:
        old = self.objects.get(kind.stored, key)
        if old is None:
            raise not_found(kind, key.rpartition("/")[2])
        _preconditions(kind, value["metadata"], old["metadata"])
        new = self._default(kind, prepare_update(kind, value, old, subresource=subresource))
        if options.review is not None:
            place = key.rpartition("/")[0]
            new, options, warned = self._mutate(kind, place, new, old, options=options, subresource=subresource)
            new = self._default(kind, prepare_update(kind, new, old, subresource=subresource))
            warnings += warned
        if kind.stored == "Service" and not subresource:
            self._check_fields(kind, new, old)
            new = self._assign(key, new, old, options)
        new = self._track(kind, new, old, options=options, subresource=subresource)
        if same(new, old):
            return Outcome(value=old, rv=int(old["metadata"]["resourceVersion"]), warnings=warnings)
        self._check_fields(kind, new, old, subresource=subresource)
        if kind.stored == "PriorityClass":
            check_class(self.objects, new)
        if self.objects.kinds.meaning(kind).has_generation(kind):
            new = bump_generation(new, old)
        self._check_user(kind, new, old, options)
        warnings += self._judge(kind, new, old, options, subresource=subresource)
        self._quotas.check(kind, new, old)
        warnings += self._review(kind, new, old, options, subresource=subresource)
        if options.dry_run:
            return Outcome(value=new, rv=0, warnings=warnings)
        removed = self.reaper.after_update(kind, key, self.objects.put(kind.stored, key, new).value)
        if removed is not None:
            return Outcome(value=removed.value, rv=removed.rv, warnings=warnings)
        if kind.stored == "ClusterRole":
            aggregate(self.objects)
        item = self.objects.store.head_item(kind.stored, key)
        assert item is not None
        return Outcome(value=item.value, rv=item.rv, warnings=warnings)

    def _track(self, kind: Kind, new: Json, old: Json | None, *, options: WriteOptions, subresource: str) -> Json:
        if not options.manager or options.tracked:
            return new
        by = By(manager=options.manager, subresource=subresource or options.through, now=self._now(options))
        return track_update(self.objects.kinds.meaning(kind).patch_kind(kind), old, new, by=by)

    def _default(self, kind: Kind, value: Json) -> Json:
        return self.objects.kinds.meaning(kind).default(kind, value)

    def _check_fields(self, kind: Kind, new: Json, old: Json | None, *, subresource: str = "") -> None:
        errors = [*self.objects.kinds.meaning(kind).validate(kind, new, old, subresource=subresource)]
        if errors:
            causes = [cause(error.reason, error.message, error.field) for error in errors]
            raise invalid(kind, new["metadata"].get("name", ""), causes)

    def _check_user(self, kind: Kind, new: Json, old: Json | None, options: WriteOptions) -> None:
        if self.guard is not None and options.user is not None:
            self.guard(options.user, kind, new, old)

    def admit_delete(self, kind: Kind, key: str, options: WriteOptions) -> tuple[str, ...]:
        """Ask admission policies and webhooks whether an object may be deleted; the warnings. Raises what they deny
        with."""
        old = self.objects.get(kind.stored, key)
        if old is None:
            return ()
        _, _, warnings = self._mutate(kind, key.rpartition("/")[0], None, old, options=options)
        return warnings + self._judge(kind, None, old, options) + self._review(kind, None, old, options)

    def admit(self, attempt: Attempt, options: WriteOptions) -> tuple[str, ...]:
        """Ask webhooks about what is no write of an object (binding, eviction, CONNECT); the warnings."""
        if options.review is None:
            return ()
        first = options.review.answer("mutating", attempt)
        return first.warnings + options.review.answer("validating", attempt).warnings

    def attempt_of(
        self, kind: Kind, new: Json | None, old: Json | None, options: WriteOptions, *, subresource: str = ""
    ) -> Attempt:
        """A write as admission sees it, objects in the version of the request."""
        meaning, meta = self.objects.kinds.meaning(kind), (new or old or {})["metadata"]
        new, old = (value and meaning.present(kind, value) for value in (new, old))
        body = None
        if options.through:
            subresource, body = options.through, ("autoscaling", "v1", "Scale")
            new, old = (value and meaning.scale(kind, value) for value in (new, old))
        operation = "CREATE" if old is None else "DELETE" if new is None else "UPDATE"
        return Attempt(
            operation=operation,
            kind=kind,
            namespace=meta.get("namespace", ""),
            name=meta.get("name", ""),
            subresource=subresource,
            new=new,
            old=old,
            user=options.user or (ADMIN if options.manager else CONTROLLER),
            dry_run=options.dry_run,
            options=options_of(options, operation),
            body=body,
        )

    def _mutate(
        self,
        kind: Kind,
        namespace: str,
        value: Json | None,
        old: Json | None,
        *,
        options: WriteOptions,
        subresource: str = "",
    ) -> tuple[Any, WriteOptions, tuple[str, ...]]:
        """The value as mutating webhooks want it; managedFields are of what the user asked for."""
        if options.review is None:
            return value, options, ()
        asked = value
        if asked is not None:
            asked = self._track(kind, self._default(kind, asked), old, options=options, subresource=subresource)
        attempt = self.attempt_of(kind, asked, old, options, subresource=subresource)
        answer = options.review.answer("mutating", attempt)
        if asked is None or answer.value is None or answer.value == attempt.new:
            return value, options, answer.warnings
        changed = with_meta(answer.value, managedFields=asked["metadata"].get("managedFields"))
        try:
            value, _ = self._accept(kind, namespace, changed, WriteOptions())
        except StatusError as error:
            raise internal(f"the object as admission webhooks changed it cannot be used: {error}") from error
        return value, msgspec.structs.replace(options, tracked=True), answer.warnings

    def _review(
        self, kind: Kind, new: Json | None, old: Json | None, options: WriteOptions, *, subresource: str = ""
    ) -> tuple[str, ...]:
        """Validating webhooks; the warnings."""
        if options.review is None:
            return ()
        attempt = self.attempt_of(kind, new, old, options, subresource=subresource)
        return options.review.answer("validating", attempt).warnings

    def _judge(
        self, kind: Kind, new: Json | None, old: Json | None, options: WriteOptions, *, subresource: str = ""
    ) -> tuple[str, ...]:
        """ValidatingAdmissionPolicies; what podwire itself writes is not asked."""
        by_podwire = options.user is None and not options.manager
        if by_podwire or not any(True for _ in self.objects.store.heads("ValidatingAdmissionPolicyBinding")):
            return ()
        from podwire.apiserver.custom.policies import judge

        plain = msgspec.structs.replace(options, through="")  # a policy sees a scale as an update of its object
        return judge(self.objects, self.attempt_of(kind, new, old, plain, subresource=subresource))

    def _assign(self, key: str, new: Json, old: Json | None, options: WriteOptions) -> Json:
        """Addresses and ports of a Service."""

        def assign(value: Json) -> Json:
            return self.objects.allocator.assign(key, value, old)

        return options.review.assign(new, assign) if options.review is not None else assign(new)

    def _luck(self, options: WriteOptions) -> Chance:
        return options.review.chance if options.review is not None else self._chance

    def _now(self, options: WriteOptions) -> str:
        return timestamp(self._luck(options).now())

    def _furnish(self, namespace: str) -> None:
        """What every namespace holds (rule of the ServiceAccount and root CA controllers)."""
        for value in needed_in_namespace(self._root_certificate):
            kind = KINDS[value["kind"]]
            self.create(kind, namespace, value, WriteOptions())


def options_of(options: WriteOptions, operation: str) -> Json:
    """The request's options as AdmissionReview has them."""
    verb = options.verb or operation.capitalize()
    found: Json = {"kind": f"{verb}Options", "apiVersion": "meta.k8s.io/v1"}
    if options.dry_run:
        found["dryRun"] = ["All"]
    if options.manager:
        found["fieldManager"] = options.manager
    if verb != "Delete" and options.user is not None:
        found["fieldValidation"] = options.field_validation
    return found | ({"force": True} if options.force else {})


def strict_error(kind: Kind, words: list[str]) -> str:
    """The message of a strict decoding failure."""
    what = f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}'
    return f"{what}: strict decoding error: {', '.join(words)}"


def merge_values(current: Any, patch: Any) -> Any:
    """RFC 7386 on values; shares what it does not change."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_values(merged.get(key), value)
    return merged


def _preconditions(kind: Kind, new: Json, old: Json) -> None:
    if new.get("uid") and new["uid"] != old["uid"]:
        why = f"Precondition failed: UID in precondition: {new['uid']}, UID in object meta: {old['uid']}"
        raise conflict(kind, old["name"], why)
    if new.get("resourceVersion") and new["resourceVersion"] != old["resourceVersion"]:
        raise conflict(kind, old["name"])
