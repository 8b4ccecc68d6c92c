"""Typed errors, one class for each thing a caller can do about it, and their form as a ``Status`` object.

Raised by every layer; the API server turns them into HTTP responses, the client turns responses back into them,
so an error means the same on both sides of the wire. Source: apimachinery ``api/errors`` and ``metav1.Status``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from sampan.api.types import Obj
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in one field: a cause of an Invalid error.

    ``reason`` is the cause's wire form (``FieldValueRequired`` ...). Build with the functions below.
    """

    reason: str
    field: str
    detail: str

    def message(self) -> str:
        return f"{self.field}: {self.detail}" if self.field else self.detail


#: What an answer names of an object's faults; upstream names all, and repeats the value that each is about. Tens of
#: thousands of them help nobody, and cost more than the object that has them.
MOST_CAUSES: Final = 500
MOST_CAUSE_BYTES: Final = 256 * 1024
_LONGEST_VALUE: Final = 8 * 1024


class Verbatim(str):
    """As a value of an error: text that stands in the message as it is."""

    __slots__ = ()


#: Go's nil of a slice or a map, or a pointer to nothing, which is what None stands for
NIL: Final = Verbatim("null")


def quoted(value: Any) -> str:
    """A value as errors show it."""
    return _quote(value)


def _quote(value: Any) -> str:
    text = _literal(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}... ({len(text)} characters)"


def _literal(value: Any) -> str:
    if isinstance(value, Verbatim):
        return value
    if isinstance(value, str):
        return _go_quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return NIL
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode().translate(_GO_JSON)
    return str(value)


#: what Go's encoder writes otherwise in JSON, so that it may stand in HTML
_GO_JSON: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_GO_ESCAPES: Final = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
    "\v": "\\v",
}  # fmt: skip


def _go_quoted(text: str) -> str:
    """As Go's ``%q`` shows a string."""
    if len(text) > _LONGEST_VALUE:
        return _go_quoted(text[:_LONGEST_VALUE]) + text[_LONGEST_VALUE:]
    if text.isprintable():
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return '"' + "".join(map(_go_escaped, text)) + '"'


def _go_escaped(character: str) -> str:
    if character in _GO_ESCAPES:
        return _GO_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def required(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, "Required value" + (f": {detail}" if detail else ""))


def invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, f"Invalid value: {_quote(value)}" + (f": {detail}" if detail else ""))


def invalid_without_value(field: str, detail: str) -> FieldError:
    """Where the value is too long, or too much of a struct, to be shown (upstream: OmitValueType)."""
    return FieldError("FieldValueInvalid", field, f"Invalid value: {detail}")


def not_supported(field: str, value: Any, supported: Sequence[str]) -> FieldError:
    listed = ", ".join(_quote(item) for item in supported)
    return FieldError(
        "FieldValueNotSupported",
        field,
        f"Unsupported value: {_quote(value)}" + (f": supported values: {listed}" if listed else ""),
    )


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, "Forbidden" + (f": {detail}" if detail else ""))


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, f"Duplicate value: {_quote(value)}")


def not_found_value(field: str, value: Any, detail: str = "") -> FieldError:
    text = f"Not found: {_quote(value)}" + (f": {detail}" if detail else "")
    return FieldError("FieldValueNotFound", field, text)


def too_long(field: str, limit_bytes: int) -> FieldError:
    unit = "byte" if limit_bytes == 1 else "bytes"
    return FieldError("FieldValueTooLong", field, f"Too long: may not be more than {limit_bytes} {unit}")


def too_many(field: str, count: int, limit: int) -> FieldError:
    unit = "item" if limit == 1 else "items"
    return FieldError("FieldValueTooMany", field, f"Too many: {count}: must have at most {limit} {unit}")


class ApiError(Exception):
    """Base of all errors that have a ``Status``. ``code`` and ``reason`` are the HTTP code and ``Status.reason``: of
    the class, or of one error whose refusal somebody else worded (a webhook, a policy)."""

    code: int = 500
    reason: str = "InternalError"
    #: whether upstream's Status has details though they say nothing (``details: {}``)
    _always_detailed: bool = False

    def __init__(self, message: str, *, details: Obj | None = None, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: Obj = dict(details or {})
        if retry_after_seconds is not None:
            self.details["retryAfterSeconds"] = retry_after_seconds

    @property
    def retry_after_seconds(self) -> int | None:
        return self.details.get("retryAfterSeconds")

    def cause(self, reason: str) -> Obj | None:
        """The first cause with this reason, if any."""
        for cause in self.details.get("causes", ()):
            if cause.get("reason") == reason:
                found: Obj = cause
                return found
        return None

    def status(self) -> Obj:
        """The ``Status`` object that goes over the wire."""
        status: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details or self._always_detailed:
            status["details"] = self.details
        status["code"] = self.code
        return status


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"
    _always_detailed = True


class NotFound(ApiError):
    code, reason = 404, "NotFound"
    _always_detailed = True


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"
    _always_detailed = True


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"
    _always_detailed = True


class Conflict(ApiError):
    """The object changed since it was read: read again and retry."""

    code, reason = 409, "Conflict"
    _always_detailed = True


class Gone(ApiError):
    code, reason = 410, "Gone"


class Expired(ApiError):
    """The asked-for revision is compacted: list again."""

    code, reason = 410, "Expired"


class RequestEntityTooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    """The object is well-formed but not valid; ``details.causes`` names each field."""

    code, reason = 422, "Invalid"
    _always_detailed = True


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    """Our bug."""

    code, reason = 500, "InternalError"


class ServerTimeout(ApiError):
    code, reason = 500, "ServerTimeout"


class ServiceUnavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    code, reason = 504, "Timeout"


_BY_REASON: dict[str, type[ApiError]] = {
    cls.reason: cls
    for cls in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, AlreadyExists, Conflict, Gone,
        Expired, RequestEntityTooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError, ServerTimeout,
        ServiceUnavailable, Timeout,
    )
}  # fmt: skip
_BY_CODE: dict[int, type[ApiError]] = {
    400: BadRequest, 401: Unauthorized, 403: Forbidden, 404: NotFound, 405: MethodNotAllowed, 406: NotAcceptable,
    409: Conflict, 410: Expired, 413: RequestEntityTooLarge, 415: UnsupportedMediaType, 422: Invalid,
    429: TooManyRequests, 500: InternalError, 503: ServiceUnavailable, 504: Timeout,
}  # fmt: skip


def from_status(code: int, status: Obj) -> ApiError:
    """The typed error for a ``Status`` received from a server; falls back on the HTTP code."""
    cls = _BY_REASON.get(status.get("reason", "")) or _BY_CODE.get(code, InternalError)
    return cls(str(status.get("message", f"HTTP {code}")), details=status.get("details"))


def qualified(resource: str, group: str) -> str:
    """``deployments.apps``; the core group adds nothing."""
    return f"{resource}.{group}" if group else resource


def _details(resource: str, group: str, name: str) -> Obj:
    details: Obj = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if resource:
        details["kind"] = resource
    return details


def not_found(resource: str, name: str, group: str = "") -> NotFound:
    return NotFound(f'{qualified(resource, group)} "{name}" not found', details=_details(resource, group, name))


def already_exists(resource: str, name: str, group: str = "") -> AlreadyExists:
    return AlreadyExists(
        f'{qualified(resource, group)} "{name}" already exists', details=_details(resource, group, name)
    )


def conflict(resource: str, name: str, group: str = "", detail: str = "") -> Conflict:
    detail = detail or ("the object has been modified; please apply your changes to the latest version and try again")
    return Conflict(
        f'Operation cannot be fulfilled on {qualified(resource, group)} "{name}": {detail}',
        details=_details(resource, group, name),
    )


def forbidden_error(resource: str, name: str, detail: str, group: str = "", causes: Sequence[Obj] = ()) -> Forbidden:
    details = _details(resource, group, name)
    if causes:
        details["causes"] = list(causes)
    quoted = f' "{name}"' if name else ""
    return Forbidden(f"{qualified(resource, group)}{quoted} is forbidden: {detail}", details=details)


def invalid_object(kind: str, name: str, errors: Sequence[FieldError], group: str = "") -> Invalid:
    """422 for an object, with one cause a field error, up to a bound: the last one then says how many there are beyond.
    ``kind`` is the Kind, as upstream has it, not the resource."""
    details = _details(kind, group, name)
    told = _within_bounds(errors)
    details["causes"] = [{"reason": error.reason, "message": error.detail, "field": error.field} for error in told]
    messages = list(dict.fromkeys(error.message() for error in told))
    text = messages[0] if len(messages) == 1 else "[" + ", ".join(messages) + "]"
    return Invalid(f'{qualified(kind, group)} "{name}" is invalid: {text}', details=details)


def _within_bounds(errors: Sequence[FieldError]) -> list[FieldError]:
    told: list[FieldError] = []
    left = MOST_CAUSE_BYTES
    for error in errors:
        left -= len(error.field) + len(error.detail)
        if told and (len(told) == MOST_CAUSES or left < 0):
            return [*told, FieldError("FieldValueInvalid", "", f"and {len(errors) - len(told)} more errors")]
        told.append(error)
    return told
