"""Query parameters and DeleteOptions: parsed and validated before anything is read or written.

Pure. Faults are 400 when a value cannot be read, and 422 on ``ListOptions``/``CreateOptions``... when it means nothing,
as upstream (metav1 validation, metainternalversion validation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sampan.api import errors, fields, labels
from sampan.api.errors import FieldError
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.requestinfo import is_true

FieldValidation = Literal["Ignore", "Warn", "Strict"]
_FIELD_VALIDATIONS = ("", "Ignore", "Warn", "Strict")
_OPTIONS_GROUP = "meta.k8s.io"
MAX_INT64 = (1 << 63) - 1
#: how much of a value that is refused is said back
_SHOWN = 64


@dataclass(frozen=True, slots=True)
class WriteOptions:
    dry_run: bool = False
    field_manager: str = ""
    field_validation: FieldValidation = "Warn"


_NO_WRITE_OPTIONS = WriteOptions()


@dataclass(frozen=True, slots=True)
class ListOptions:
    labels: labels.Selector
    fields: fields.FieldSelector
    #: "" is unset; else decimal digits
    resource_version: str = ""
    match: str = ""
    limit: int = 0
    continue_token: str = ""
    timeout_seconds: int = 0
    bookmarks: bool = False
    send_initial_events: bool | None = None
    #: of both, as they were written
    selectors_length: int = 0

    @property
    def everything(self) -> bool:
        return self.labels.everything and self.fields.everything


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    grace_period_seconds: int | None = None
    uid: str = ""
    resource_version: str = ""
    propagation: str = ""
    orphan_dependents: bool | None = None
    dry_run: bool = False


def parse_int(query: Mapping[str, str], name: str) -> int | None:
    """None: not given. Raises BadRequest."""
    text = query.get(name, "")
    if not text:
        return None
    digits = text[1:] if text[0] in "+-" else text
    if not is_number(digits):
        fault = "value out of range" if digits.isascii() and digits.isdigit() else "invalid syntax"
        raise errors.BadRequest(f'strconv.ParseInt: parsing "{text[:_SHOWN]}": {fault}')
    return int(text)


def is_number(text: str) -> bool:
    """Decimal digits that fit 64 bits. Looked at by length first: Python refuses to read thousands of digits."""
    return text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_INT64


def parse_resource_version(text: str) -> int | None:
    """None: unset. Raises BadRequest."""
    if not text:
        return None
    if not is_number(text):
        raise errors.BadRequest(f'invalid resource version "{text[:_SHOWN]}"')
    return int(text)


def names_version(text: str) -> bool:
    """Whether this resourceVersion of a body pins one: neither unset nor 0, nor words that are no number (as upstream,
    whose versioner fails on those and is not asked why)."""
    return is_number(text) and int(text) != 0


def parse_write_options(query: Mapping[str, str], options_kind: str) -> WriteOptions:
    """``options_kind``: CreateOptions, UpdateOptions or PatchOptions. Raises Invalid."""
    if not query:
        return _NO_WRITE_OPTIONS
    found: list[FieldError] = []
    dry_run = query.get("dryRun", "")
    found += _check_dry_run(dry_run)
    manager = query.get("fieldManager", "")
    if len(manager) > 128:
        found.append(errors.too_long("fieldManager", 128))
    elif not manager.isprintable():
        text = "should only contain printable characters"
        found.append(errors.invalid("fieldManager", manager, text))
    validation = query.get("fieldValidation", "")
    if validation not in _FIELD_VALIDATIONS:
        found.append(errors.not_supported("fieldValidation", validation, _FIELD_VALIDATIONS))
    if options_kind == "PatchOptions" and query.get("force"):
        found.append(errors.forbidden("force", "may not be specified for non-apply patch"))
    if found:
        raise errors.invalid_object(options_kind, "", found, _OPTIONS_GROUP)
    return WriteOptions(bool(dry_run), manager, validation or "Warn")  # type: ignore[arg-type]  # checked above


def parse_apply_options(query: Mapping[str, str]) -> tuple[WriteOptions, bool]:
    """The options of a server-side apply, and whether it takes fields by force. Raises Invalid."""
    if not query.get("fieldManager"):
        found = errors.required("fieldManager", "is required for apply patch")
        raise errors.invalid_object("PatchOptions", "", [found], _OPTIONS_GROUP)
    return parse_write_options({**query, "force": ""}, "PatchOptions"), is_true(query.get("force"))


def _check_dry_run(value: str) -> list[FieldError]:
    return [] if value in ("", "All") else [errors.not_supported("dryRun", [value], ["All"])]


def parse_list_options(query: Mapping[str, str], kind: Kind, *, watch: bool) -> ListOptions:
    """Raises BadRequest, Invalid."""
    if not query:
        return ListOptions(labels.EVERYTHING, fields.EVERYTHING)
    version = query.get("resourceVersion", "")
    parse_resource_version(version)
    limit = parse_int(query, "limit") or 0
    timeout = parse_int(query, "timeoutSeconds") or 0
    match = query.get("resourceVersionMatch", "")
    initial = _tristate(query.get("sendInitialEvents"))
    if watch and initial is None and not match and version in ("", "0"):
        # From any or the newest state: that is a streamed list, whose end a bookmark tells (metav1's defaults).
        initial, match = True, "NotOlderThan"
    options = ListOptions(
        *parse_selectors(query, kind),
        resource_version=version,
        match=match,
        limit=max(limit, 0),
        continue_token=query.get("continue", ""),
        timeout_seconds=max(timeout, 0),
        bookmarks=is_true(query.get("allowWatchBookmarks")),
        send_initial_events=initial,
        selectors_length=len(query.get("labelSelector", "")) + len(query.get("fieldSelector", "")),
    )
    found = _check_watch(options) if watch else _check_list(options)
    if found:
        raise errors.invalid_object("ListOptions", "", found, _OPTIONS_GROUP)
    return options


def _tristate(text: str | None) -> bool | None:
    return None if text in (None, "") else is_true(text)


def parse_selectors(query: Mapping[str, str], kind: Kind) -> tuple[labels.Selector, fields.FieldSelector]:
    try:
        by_label = labels.parse(query.get("labelSelector", ""))
        by_field = fields.parse(query.get("fieldSelector", ""))
        fields.check_supported(by_field, kind.namespaced, kind.selectable_names)
    except (labels.SelectorError, fields.FieldSelectorError) as error:
        raise errors.BadRequest(str(error)) from error
    return by_label, by_field


def _check_list(options: ListOptions) -> list[FieldError]:
    found: list[FieldError] = []
    field, match = "resourceVersionMatch", options.match
    if match:
        if not options.resource_version:
            found.append(errors.forbidden(field, f"{field} is forbidden unless resourceVersion is provided"))
        if options.continue_token:
            found.append(errors.forbidden(field, f"{field} is forbidden when continue is provided"))
        if match not in ("Exact", "NotOlderThan"):
            found.append(errors.not_supported(field, match[:_SHOWN], ("Exact", "NotOlderThan", "")))
        if match == "Exact" and options.resource_version == "0":
            found.append(errors.forbidden(field, f'{field} "exact" is forbidden for resourceVersion "0"'))
    if options.send_initial_events is not None:
        found.append(errors.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return found


def _check_watch(options: ListOptions) -> list[FieldError]:
    found: list[FieldError] = []
    field, match = "resourceVersionMatch", options.match
    if options.send_initial_events is not None and match != "NotOlderThan":
        found.append(errors.forbidden(field, f"sendInitialEvents requires setting {field} to NotOlderThan"))
    if match:
        if options.send_initial_events is None:
            text = f"{field} is forbidden for watch unless sendInitialEvents is provided"
            found.append(errors.forbidden(field, text))
        if match != "NotOlderThan":
            found.append(errors.not_supported(field, match[:_SHOWN], ("NotOlderThan",)))
        if options.continue_token:
            found.append(errors.forbidden(field, f"{field} is forbidden when continue is provided"))
    return found


def parse_delete_options(query: Mapping[str, str], body: Obj | None) -> DeleteOptions:
    """From the body (checked DeleteOptions) or, without one, from the query. Raises BadRequest, Invalid."""
    source = body if body else _options_from_query(query)
    dry_runs = source.get("dryRun") or []
    preconditions = source.get("preconditions") or {}
    propagation = source.get("propagationPolicy") or ""
    orphan = source.get("orphanDependents")
    found: list[FieldError] = []
    for value in dry_runs:
        found += _check_dry_run(value)
    if propagation and orphan is not None:
        text = "orphanDependents and deletionPropagation cannot be both set"
        found.append(errors.invalid("propagationPolicy", propagation, text))
    if propagation not in ("", "Foreground", "Background", "Orphan"):
        supported = ("Foreground", "Background", "Orphan", "nil")
        found.append(errors.not_supported("propagationPolicy", propagation, supported))
    if found:
        raise errors.invalid_object("DeleteOptions", "", found, _OPTIONS_GROUP)
    return DeleteOptions(
        grace_period_seconds=source.get("gracePeriodSeconds"),
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        propagation=propagation,
        orphan_dependents=orphan,
        dry_run=bool(dry_runs),
    )


def _options_from_query(query: Mapping[str, str]) -> Obj:
    source: Obj = {"gracePeriodSeconds": parse_int(query, "gracePeriodSeconds")}
    source["propagationPolicy"] = query.get("propagationPolicy", "")
    if query.get("orphanDependents"):
        source["orphanDependents"] = is_true(query.get("orphanDependents"))
    if query.get("dryRun"):
        source["dryRun"] = [query["dryRun"]]
    return source
