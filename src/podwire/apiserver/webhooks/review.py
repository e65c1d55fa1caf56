"""AdmissionReview, admission.k8s.io/v1: the question, and what an answer says. Pure.

Spec: k8s apiserver/pkg/admission/plugin/webhook/{request,errors}.
"""

import base64
import binascii
from typing import Any

import msgspec

from podwire.apiserver.attempt import Attempt, request_of
from podwire.apiserver.status import StatusError
from podwire.kube.registry import Kind

Json = dict[str, Any]

API_VERSION = "admission.k8s.io/v1"
MAX_WARNINGS = 100
MAX_WARNING = 4096


class Verdict(msgspec.Struct, frozen=True):
    """What a webhook answered; ``operations`` is its JSON patch."""

    allowed: bool
    operations: list[Json] | None = None
    result: Json | None = None
    warnings: tuple[str, ...] = ()


class AnswerError(Exception):
    """The answer breaks the protocol."""


class _Response(msgspec.Struct, rename="camel"):
    uid: str = ""
    allowed: bool = False
    patch: str | None = None
    patch_type: str | None = None
    status: dict[str, Any] | None = None
    warnings: list[str] | None = None
    audit_annotations: dict[str, str] | None = None
    """Read and dropped: there is no audit log."""


class _Review(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    response: _Response | None = None


def question(uid: str, attempt: Attempt, kind: Kind) -> bytes:
    """The review a webhook is sent; ``kind`` is the row it asked for."""
    request: Json = {"uid": uid, **request_of(attempt, kind)}
    request |= {"object": attempt.new, "oldObject": attempt.old, "options": attempt.options}
    return msgspec.json.encode({"kind": "AdmissionReview", "apiVersion": API_VERSION, "request": request})


def read_answer(data: bytes, uid: str, *, mutating: bool) -> Verdict:
    """The verdict. Raises :class:`AnswerError`."""
    try:
        review = msgspec.json.decode(data, type=_Review)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerError(f"couldn't read the AdmissionReview: {error}") from error
    response = review.response
    if response is None:
        raise AnswerError("webhook response was absent")
    if response.uid != uid:
        raise AnswerError(f'expected response.uid="{uid}", got "{response.uid}"')
    if (review.api_version, review.kind) != (API_VERSION, "AdmissionReview"):
        found = f"{review.api_version}, Kind={review.kind}"
        raise AnswerError(f"expected webhook response of {API_VERSION}, Kind=AdmissionReview, got {found}")
    warnings = tuple(text[:MAX_WARNING] for text in (response.warnings or ())[:MAX_WARNINGS])
    if not mutating:
        _check_no_patch(response)
    operations = _patch(response) if mutating else None
    return Verdict(response.allowed, operations, response.status, warnings)


def _check_no_patch(response: _Response) -> None:
    if response.patch:
        raise AnswerError("validating webhook may not return response.patch")
    if response.patch_type:
        raise AnswerError("validating webhook may not return response.patchType")


def _patch(response: _Response) -> list[Json] | None:
    if response.patch and response.patch_type is None:
        raise AnswerError("webhook returned response.patch but not response.patchType")
    if not response.patch and response.patch_type is not None:
        raise AnswerError("webhook returned response.patchType but not response.patch")
    if not response.patch:
        return None
    if response.patch_type != "JSONPatch":
        raise AnswerError(f'unsupported patch type "{response.patch_type}"')
    try:
        operations = msgspec.json.decode(base64.b64decode(response.patch, validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise AnswerError(f"received undecodable patch in webhook response: {error}") from error
    if operations is None:
        return None
    if not isinstance(operations, list):
        raise AnswerError("received undecodable patch in webhook response: it is not a list of operations")
    return operations


def denied(name: str, result: Json | None) -> StatusError:
    """What the client is told when a webhook says no."""
    found = result or {}
    by = f'admission webhook "{name}" denied the request'
    said = found.get("message") or found.get("reason")
    code = found.get("code")
    status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    status["message"] = f"{by}: {said}" if said else f"{by} without explanation"
    status |= {field: found[field] for field in ("reason", "details") if found.get(field)}
    status["code"] = code if isinstance(code, int) and 400 <= code < 600 else 400
    return StatusError(status)
