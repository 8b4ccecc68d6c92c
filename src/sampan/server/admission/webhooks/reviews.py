"""AdmissionReview (admission.k8s.io v1 and v1beta1): the question, and what an answer is worth. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import field
from typing import Any

import orjson

from sampan.api import errors, schema
from sampan.api.errors import ApiError, BadRequest
from sampan.api.kind import Kind
from sampan.api.schema.scalars import describe
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.matching import Asked
from sampan.server.admission.webhooks.subjects import foreign_of
from sampan.server.options import DeleteOptions
from sampan.server.request import UserInfo
from sampan.server.write import Write

_GROUP = "admission.k8s.io"
_OPTIONS_KINDS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


class Undecodable(Exception):
    """The answer is no AdmissionReview by its structure."""


class InvalidAnswer(Exception):
    """It is one, and does not answer the question."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``patch``: the operations of a JSON Patch, encoded. ``status``: of a denial."""

    allowed: bool
    status: Obj | None = None
    patch: bytes = b""
    warnings: list[str] = field(default_factory=list)
    annotations: Mapping[str, str] = field(default_factory=dict)


def question(
    uid: str,
    version: str,
    write: Write,
    asked: Asked,
    matched: Kind,
    gvk: tuple[str, str, str],
    encoded: tuple[bytes, bytes],
) -> bytes:
    """The body of a call. ``matched``: the version of the resource that the webhook's rules name; ``gvk``: the kind of
    the object as it is shown."""
    request = {"uid": uid, **request_of(write, asked, matched, gvk)}
    request |= {"object": orjson.Fragment(encoded[0]), "oldObject": orjson.Fragment(encoded[1])}
    return orjson.dumps({"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{version}", "request": request})


def request_of(write: Write, asked: Asked, matched: Kind, gvk: tuple[str, str, str]) -> Obj:
    """What is said of the request beside its objects; expressions see it as ``request``."""
    requested = write.request_kind or write.kind
    sent = foreign_of(write) or (requested.group, requested.version, requested.kind)
    found: Obj = {"kind": _kind(gvk)}
    found["resource"] = {"group": matched.group, "version": matched.version, "resource": matched.plural}
    if asked.subresource:
        found["subResource"] = asked.subresource
    found |= {"requestKind": _kind(sent), "requestResource": asked.resource}
    if asked.subresource:
        found["requestSubResource"] = asked.subresource
    if asked.name:
        found["name"] = asked.name
    if asked.namespace:
        found["namespace"] = asked.namespace
    found |= {"operation": asked.operation, "userInfo": user_info(write.user)}
    return found | {"dryRun": write.dry_run, "options": options_of(write)}


def _kind(gvk: tuple[str, str, str]) -> Obj:
    return dict(zip(("group", "version", "kind"), gvk, strict=True))


def user_info(user: UserInfo) -> Obj:
    """authentication.k8s.io/v1 UserInfo."""
    found: Obj = {"username": user.name} if user.name else {}
    if user.uid:
        found["uid"] = user.uid
    if user.groups:
        found["groups"] = list(user.groups)
    if user.extra:
        found["extra"] = {key: list(values) for key, values in user.extra.items()}
    return found


def options_of(write: Write) -> Obj | None:
    """The options of the request as the object that they are; a PATCH is an update."""
    kind = _OPTIONS_KINDS.get(write.operation)
    if kind is None:
        return None
    found: Obj = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    options = write.options
    if isinstance(options, DeleteOptions):
        if options.grace_period_seconds is not None:
            found["gracePeriodSeconds"] = options.grace_period_seconds
        preconditions = {"uid": options.uid, "resourceVersion": options.resource_version}
        if preconditions := {key: value for key, value in preconditions.items() if value}:
            found["preconditions"] = preconditions
        if options.orphan_dependents is not None:
            found["orphanDependents"] = options.orphan_dependents
        if options.propagation:
            found["propagationPolicy"] = options.propagation
    if write.dry_run:
        found["dryRun"] = ["All"]
    if not isinstance(options, DeleteOptions):
        query = write.request.query
        found |= {key: query[key] for key in ("fieldManager", "fieldValidation") if query.get(key)}
    return found


def verdict_of(body: bytes, uid: str, version: str, *, mutating: bool) -> Verdict:
    """What the answer to ``question`` says. Raises Undecodable, InvalidAnswer."""
    review = _decoded(body)
    response = review.get("response")
    wanted = f"{_GROUP}/{version}"
    if response is None:
        raise InvalidAnswer("webhook response was absent")
    if version == "v1":
        if response.get("uid", "") != uid:
            raise InvalidAnswer(f'expected response.uid="{uid}", got "{str(response.get("uid", ""))[:256]}"')
        found = review.get("apiVersion") or "", review.get("kind") or ""
        if found != (wanted, "AdmissionReview"):
            group, _, of = found[0].rpartition("/")
            got = f"{group}/{of}, Kind={found[1]}"[:256]
            raise InvalidAnswer(f"expected webhook response of {wanted}, Kind=AdmissionReview, got {got}")
    return Verdict(
        response.get("allowed") is True,
        response.get("status"),
        _patch(response, version, mutating=mutating),
        response.get("warnings") or [],
        response.get("auditAnnotations") or {},
    )


def _patch(response: Obj, version: str, *, mutating: bool) -> bytes:
    """Raises InvalidAnswer, Undecodable."""
    encoded, kind = response.get("patch") or "", response.get("patchType")
    if version == "v1" and mutating:
        if encoded and kind is None:
            raise InvalidAnswer("webhook returned response.patch but not response.patchType")
        if not encoded and kind is not None:
            raise InvalidAnswer("webhook returned response.patchType but not response.patch")
        if kind == "":
            raise InvalidAnswer('webhook returned invalid response.patchType of ""')
        if encoded and kind != "JSONPatch":
            raise InvalidAnswer(f'unsupported patch type "{str(kind)[:64]}"')
    elif version == "v1":
        if encoded:
            raise InvalidAnswer("validating webhook may not return response.patch")
        if kind is not None:
            raise InvalidAnswer("validating webhook may not return response.patchType")
    elif not mutating:
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Undecodable("illegal base64 data in response.patch") from None


def operations_of(patch: bytes) -> list[Any]:
    """Raises BadRequest: it is no JSON Patch."""
    value, _ = schema.parse_json(patch, "the patch is no JSON")
    if not isinstance(value, list):
        raise BadRequest(f"json: cannot unmarshal {describe(value)} into Go value of type jsonpatch.Patch")
    return value


_RESPONSE: Mapping[str, tuple[type, str]] = {
    "uid": (str, "types.UID"),
    "allowed": (bool, "bool"),
    "status": (dict, "v1.Status"),
    "patch": (str, "[]uint8"),
    "patchType": (str, "v1.PatchType"),
    "auditAnnotations": (dict, "map[string]string"),
    "warnings": (list, "[]string"),
}
_STATUS: Mapping[str, tuple[type, str]] = {
    "status": (str, "string"),
    "message": (str, "string"),
    "reason": (str, "v1.StatusReason"),
    "code": (int, "int32"),
    "details": (dict, "v1.StatusDetails"),
}
_DETAILS: Mapping[str, tuple[type, str]] = {
    "name": (str, "string"),
    "group": (str, "string"),
    "kind": (str, "string"),
    "uid": (str, "types.UID"),
    "causes": (list, "[]v1.StatusCause"),
    "retryAfterSeconds": (int, "int32"),
}


def _decoded(body: bytes) -> Obj:
    """The review, its structure checked as far as it is read. Raises Undecodable."""
    try:
        review, _ = schema.parse_json(body, "couldn't get version/kind; json parse error")
    except BadRequest as error:
        raise Undecodable(error.message) from None
    if not isinstance(review, dict):
        raise _mismatch(review, "value of type", "v1.AdmissionReview")
    for key in ("kind", "apiVersion"):
        if not isinstance(review.get(key, ""), str | None):
            raise _mismatch(review[key], "struct field AdmissionReview", f"{key} of type string")
    response = review.get("response")
    if response is None:
        return review
    if not isinstance(response, dict):
        raise _mismatch(response, "struct field", "AdmissionReview.response of type v1.AdmissionResponse")
    _check(response, _RESPONSE, "AdmissionReview.response")
    _check(response.get("status") or {}, _STATUS, "AdmissionReview.response.status")
    details = (response.get("status") or {}).get("details") or {}
    _check(details, _DETAILS, "AdmissionReview.response.status.details")
    for each in details.get("causes") or ():
        if not isinstance(each, dict):
            path = "AdmissionReview.response.status.details.causes of type v1.StatusCause"
            raise _mismatch(each, "struct field", path)
    for each in response.get("warnings") or ():
        if not isinstance(each, str):
            raise _mismatch(each, "struct field", "AdmissionReview.response.warnings of type string")
    for each in (response.get("auditAnnotations") or {}).values():
        if not isinstance(each, str):
            raise _mismatch(each, "struct field", "AdmissionReview.response.auditAnnotations of type string")
    return review


def _check(found: Obj, wanted: Mapping[str, tuple[type, str]], path: str) -> None:
    for key, (kind, name) in wanted.items():
        value = found.get(key)
        if value is None:
            continue
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _mismatch(value, "struct field", f"{path}.{key} of type {name}")


def _mismatch(value: Any, where: str, wanted: str) -> Undecodable:
    return Undecodable(f"json: cannot unmarshal {describe(value)} into Go {where} {wanted}")


class Denied(ApiError):
    """A webhook said no: its own code, reason and details, under the sentence that says who it was."""

    def __init__(self, name: str, status: Obj | None) -> None:
        status = status or {}
        message, reason = status.get("message") or "", status.get("reason") or ""
        text = f'admission webhook "{name}" denied the request'
        text += f": {message or reason}" if message or reason else " without explanation"
        super().__init__(text, details=status.get("details"))
        code = status.get("code") or 0
        self.code = code if 400 <= code <= 599 else 400
        self.reason = reason


def unsupported_dry_run(name: str) -> errors.BadRequest:
    return errors.BadRequest(f'admission webhook "{name}" does not support dry run')
