"""Named formats in expressions: ``format.dns1123Label().validate(name)`` gives what is wrong, or nothing."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final

from sampan.api import names
from sampan.cel.costs import SLOW, pattern_cost
from sampan.cel.errors import EvaluationError
from sampan.cel.functions import Library, function, member, plain
from sampan.cel.library.urls import parse as parse_url
from sampan.cel.times import parse_timestamp
from sampan.cel.types import STRING, list_of, opaque, optional_of
from sampan.cel.values import NONE, Opaque, Optional
from sampan.records import dataclass

FORMAT: Final = opaque("kubernetes.NamedFormat")

_UUID: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Format(Opaque):
    """``pattern_size``: of the regular expression that upstream takes its check to be."""

    type = FORMAT
    name: str
    check: Callable[[str], list[str]]
    pattern_size: int


def _told(problem: str, fits: Callable[[str], object]) -> Callable[[str], list[str]]:
    def check(text: str) -> list[str]:
        try:
            return [] if fits(text) else [problem]
        except (ValueError, EvaluationError):
            return [problem]

    return check


def _uri(text: str) -> list[str]:
    try:
        parse_url(text)
    except EvaluationError as error:
        return [str(error).partition("from string: ")[2]]
    return []


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return bool(text)


def _prefix(check: names.NameCheck) -> Callable[[str], list[str]]:
    return lambda text: names.as_prefix(check, text)


_FORMATS: Final = {
    "dns1123Label": Format("DNS1123Label", names.dns1123_label, 30),
    "dns1123Subdomain": Format("DNS1123Subdomain", names.dns1123_subdomain, 60),
    "dns1035Label": Format("DNS1035Label", names.dns1035_label, 30),
    "qualifiedName": Format("QualifiedName", names.qualified_name, 60),
    "dns1123LabelPrefix": Format("DNS1123LabelPrefix", _prefix(names.dns1123_label), 30),
    "dns1123SubdomainPrefix": Format("DNS1123SubdomainPrefix", _prefix(names.dns1123_subdomain), 60),
    "dns1035LabelPrefix": Format("DNS1035LabelPrefix", _prefix(names.dns1035_label), 30),
    "labelValue": Format("LabelValue", names.label_value, 40),
    "uri": Format("URI", _uri, 1024),
    "uuid": Format("uuid", _told("does not match the UUID format", _UUID.fullmatch), 95),
    "byte": Format("byte", _told("invalid base64", _is_base64), 80),
    "date": Format("date", _told("invalid date", date.fromisoformat), 130),
    "datetime": Format("datetime", _told("invalid datetime", parse_timestamp), 130),
}


def _validate(format_: Format, text: str) -> Optional:
    problems = format_.check(text)
    return Optional(problems) if problems else NONE


def _validating(args: Sequence[Any]) -> int:
    return SLOW + pattern_cost(len(args[1]), args[0].pattern_size)


def _named(name: str) -> Optional:
    return Optional(_FORMATS[name]) if name in _FORMATS else NONE


def _constant(format_: Format) -> Callable[[], Format]:
    return lambda: format_


LIBRARY: Final[Library] = (
    function(
        "validate", member("format-validate", [FORMAT, STRING], optional_of(list_of(STRING)), _validate, _validating)
    ),
    function("format.named", plain("format-named", [STRING], optional_of(FORMAT), _named)),
    *(
        function(f"format.{name}", plain(f"format.{name}", [], FORMAT, _constant(format_)))
        for name, format_ in _FORMATS.items()
    ),
)
