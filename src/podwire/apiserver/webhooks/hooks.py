"""Which webhooks are asked about a write, in what order, and what their answers do.

Rules:

1. Mutating webhooks are asked one after the other, by name of configuration, then in its order; each sees what those
   before it made. Validating ones are asked together on the object as it would be stored.
2. A webhook is asked when its selectors, one of its rules and all its match conditions agree. ``matchPolicy:
   Equivalent`` lets a rule name another version of the resource; the webhook is asked in that version.
3. A webhook with ``reinvocationPolicy: IfNeeded`` is asked once more when one after it changed the object.
4. What goes wrong with asking refuses the write (500), unless ``failurePolicy`` is Ignore. A denial always does.
5. Configurations of webhooks and admission policies are never subject to webhooks: else nobody could repair them.

Spec: k8s apiserver/pkg/admission/plugin/webhook/{generic,mutating,validating}.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import msgspec

from podwire.apiserver.attempt import Answer, Attempt, Phase, fits, has_labels, in_namespace, request_of
from podwire.apiserver.objects import Objects
from podwire.apiserver.patch.errors import PatchError
from podwire.apiserver.patch.jsonpatch import json_patch
from podwire.apiserver.status import bad_request, forbidden, internal
from podwire.apiserver.webhooks.call import CallError, ServiceDial, ask
from podwire.apiserver.webhooks.review import AnswerError, Verdict, denied, question, read_answer
from podwire.kube.registry import Kind

Json = dict[str, Any]

LOG = logging.getLogger("podwire.apiserver")
CONFIGURATIONS: Mapping[Phase, str] = MappingProxyType(
    {"mutating": "MutatingWebhookConfiguration", "validating": "ValidatingWebhookConfiguration"}
)
_EXEMPT = frozenset(
    {*CONFIGURATIONS.values(), "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"},
)
_CONDITION_BUDGET = 2_500_000


class Hooks:
    """The webhooks of a server."""

    def __init__(self, objects: Objects, dial_service: ServiceDial) -> None:
        """``dial_service`` connects to a Service's pods."""
        self._objects = objects
        self._dial_service = dial_service
        self._seen: dict[Phase, tuple[int, list[Json]]] = {}

    def hooks(self, phase: Phase) -> list[Json]:
        """Every webhook of a phase, in order."""
        store, kind = self._objects.store, CONFIGURATIONS[phase]
        revision = store.revision_of(kind)
        found = self._seen.get(phase)
        if found is None or found[0] != revision:
            hooks = [hook for _, item in store.items(kind) for hook in item.value.get("webhooks") or ()]
            found = self._seen[phase] = (revision, hooks)
        return found[1]

    def concern(self, phase: Phase, attempt: Attempt) -> bool:
        """Whether anybody is to be asked. Raises 403: a match condition failed."""
        return any(self._row(hook, attempt) is not None for hook in self.hooks(phase))

    async def ask(self, phase: Phase, attempt: Attempt) -> Answer:
        """Ask everybody. Raises what a webhook denies with, and 500."""
        if phase == "mutating":
            return await self._mutate(attempt)
        rows = [(hook, row) for hook in self.hooks(phase) if (row := self._row(hook, attempt)) is not None]
        found = await asyncio.gather(*(self._one(phase, hook, attempt, row) for hook, row in rows))
        return Answer(attempt.new, tuple(text for verdict in found for text in verdict.warnings))

    async def _mutate(self, attempt: Attempt) -> Answer:
        warnings: list[str] = []
        asked: list[int] = []
        again: set[int] = set()
        hooks = self.hooks("mutating")
        for index, hook in enumerate(hooks):
            changed = await self._change(hook, attempt, warnings)
            if changed is None:
                continue
            if changed != attempt.new:
                again.update(asked)
                attempt = msgspec.structs.replace(attempt, new=changed)
            if hook.get("reinvocationPolicy") == "IfNeeded":
                asked.append(index)
        for index in sorted(again):
            changed = await self._change(hooks[index], attempt, warnings)
            if changed is not None:
                attempt = msgspec.structs.replace(attempt, new=changed)
        return Answer(attempt.new, tuple(warnings))

    async def _change(self, hook: Json, attempt: Attempt, warnings: list[str]) -> Json | None:
        """The object after one mutating webhook; None when it is not asked."""
        row = self._row(hook, attempt)
        if row is None:
            return None
        verdict = await self._one("mutating", hook, attempt, row)
        warnings.extend(verdict.warnings)
        if not verdict.operations:
            return attempt.new
        if attempt.new is None or attempt.body is not None:
            why = "attempted to modify the object, which is not supported for this operation"
            raise internal(f'admission webhook "{hook["name"]}" {why}')
        try:
            changed = json_patch(self._as(row, attempt.new), verdict.operations)
        except PatchError as error:
            raise internal(f'the patch of admission webhook "{hook["name"]}" does not apply: {error}') from error
        if not isinstance(changed, dict) or not isinstance(changed.get("metadata"), dict):
            raise internal(f'the patch of admission webhook "{hook["name"]}" leaves no object')
        return self._as(attempt.kind, changed)

    def _as(self, kind: Kind, value: Json) -> Json:
        """The object in the version of a row."""
        if value.get("apiVersion") == kind.api_version:
            return value
        return self._objects.kinds.meaning(kind).present(kind, value)

    # --- one webhook ---

    async def _one(self, phase: Phase, hook: Json, attempt: Attempt, row: Kind) -> Verdict:
        name = hook["name"]
        if attempt.dry_run and hook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise bad_request(f'admission webhook "{name}" does not support dry run')
        try:
            verdict = await self._call(phase, hook, attempt, row)
        except (CallError, AnswerError) as error:
            if hook.get("failurePolicy") != "Ignore":
                raise internal(f'failed calling webhook "{name}": {error}') from error
            LOG.warning('failed calling webhook "%s", going on without it: %s', name, error)
            return Verdict(allowed=True)
        if not verdict.allowed:
            raise denied(name, verdict.result)
        return verdict

    async def _call(self, phase: Phase, hook: Json, attempt: Attempt, row: Kind) -> Verdict:
        uid = str(uuid4())
        if row is not attempt.kind and attempt.body is None:
            new, old = (value and self._as(row, value) for value in (attempt.new, attempt.old))
            attempt = msgspec.structs.replace(attempt, new=new, old=old)
        body = question(uid, attempt, row)
        seconds = int(hook.get("timeoutSeconds") or 10)
        try:
            data = await ask(hook["clientConfig"], body, timeout_seconds=seconds, dial_service=self._dial_service)
        except CallError as error:
            raise CallError(f"failed to call webhook: {error}") from error
        try:
            return read_answer(data, uid, mutating=phase == "mutating")
        except AnswerError as error:
            raise AnswerError(f"received invalid webhook response: {error}") from error

    # --- whether it is asked ---

    def _row(self, hook: Json, attempt: Attempt) -> Kind | None:
        """Rule 2: the row a webhook is asked by; None when it is not asked. Raises 403."""
        if attempt.kind.stored in _EXEMPT:
            return None
        if not in_namespace(self._objects, hook.get("namespaceSelector"), attempt):
            return None
        if not has_labels(hook.get("objectSelector"), attempt):
            return None
        row = next(self._fitting(hook, attempt), None)
        return row if row is not None and self._conditions_hold(hook, attempt, row) else None

    def _fitting(self, hook: Json, attempt: Attempt) -> Iterator[Kind]:
        rules = hook.get("rules") or ()
        if any(fits(rule, attempt) for rule in rules):
            yield attempt.kind
        if hook.get("matchPolicy") == "Exact":
            return
        others = [row for row in self._objects.kinds.rows() if row.stored == attempt.kind.stored]
        yield from (row for rule in rules for row in others if row != attempt.kind and fits(rule, attempt, row))

    def _conditions_hold(self, hook: Json, attempt: Attempt, row: Kind) -> bool:
        conditions = hook.get("matchConditions") or ()
        if not conditions:
            return True
        from podwire.kube.cel_env import CompileError
        from podwire.kube.cel_policy import compiled
        from podwire.kube.cel_values import CelError

        scope: Json = {"object": attempt.new, "oldObject": attempt.old, "request": request_of(attempt, row)}
        scope |= {"namespaceObject": None, "params": None, "variables": {}}
        left, failures = _CONDITION_BUDGET, []
        for condition in conditions:
            try:
                holds, left = compiled(condition["expression"]).evaluate(scope, left)
            except (CelError, CompileError) as error:
                failures.append(f"{condition['expression']}: {error}")
                continue
            if holds is not True:
                return False
        if failures and hook.get("failurePolicy") != "Ignore":
            raise forbidden(attempt.kind, attempt.name, f"[{', '.join(failures)}]")
        return not failures
