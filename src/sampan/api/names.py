"""What may be a name: each function returns the problems of a text, none when it is fine.

Rules and wording: apimachinery ``util/validation`` and ``api/validation``. Messages quote the regular expression, which
people and tools match on.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

NameCheck = Callable[[str], list[str]]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_UNDERSCORED = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_UNDERSCORES = rf"{_UNDERSCORED}(\.{_UNDERSCORED})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_MAP_KEY = "[-._a-zA-Z0-9]+"
_HTTP_HEADER = "[-A-Za-z0-9]+"

_LABEL_RE = re.compile(_LABEL, re.ASCII)
_SUBDOMAIN_RE = re.compile(_SUBDOMAIN, re.ASCII)
_UNDERSCORES_RE = re.compile(_UNDERSCORES, re.ASCII)
_LABEL_1035_RE = re.compile(_LABEL_1035, re.ASCII)
_QUALIFIED_RE = re.compile(_QUALIFIED, re.ASCII)
_LABEL_VALUE_RE = re.compile(_LABEL_VALUE, re.ASCII)
_CONFIG_MAP_KEY_RE = re.compile(_CONFIG_MAP_KEY, re.ASCII)
_HTTP_HEADER_RE = re.compile(_HTTP_HEADER, re.ASCII)


def _regex_error(message: str, pattern: str, *examples: str) -> str:
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {listed}regex used for validation is '{pattern}')"


_LABEL_ERROR = _regex_error(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_ERROR = _regex_error(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_UNDERSCORES_ERROR = _regex_error(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must "
    "start and end with an alphanumeric character",
    _UNDERSCORES,
    "example.com",
)
_LABEL_1035_ERROR = _regex_error(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
_QUALIFIED_ERROR = _regex_error(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _QUALIFIED,
    "MyName",
    "my.name",
    "123-abc",
)
_LABEL_VALUE_ERROR = _regex_error(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character",
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)
_CONFIG_MAP_KEY_ERROR = _regex_error(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_MAP_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)
_HTTP_HEADER_ERROR = _regex_error(
    "a valid HTTP header must consist of alphanumeric characters or '-'", _HTTP_HEADER, "X-Header-Name"
)


def max_length(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def _check(text: str, limit: int, pattern: re.Pattern[str], error: str) -> list[str]:
    if len(text) <= limit and text.isascii() and pattern.fullmatch(text):
        return []
    problems = []
    if len(text.encode()) > limit:
        problems.append(max_length(limit))
    if not pattern.fullmatch(text):
        problems.append(error)
    return problems


def dns1123_label(text: str) -> list[str]:
    problems = [max_length(63)] if len(text.encode()) > 63 else []
    if not _LABEL_RE.fullmatch(text):
        # A text that would do as a subdomain only has dots too many; upstream says so more plainly.
        problems.append("must not contain dots" if _SUBDOMAIN_RE.fullmatch(text) else _LABEL_ERROR)
    return problems


def dns1123_subdomain(text: str) -> list[str]:
    return _check(text, 253, _SUBDOMAIN_RE, _SUBDOMAIN_ERROR)


def subdomain_with_underscores(text: str) -> list[str]:
    """Of DNS search paths: records of services have such names."""
    return _check(text, 253, _UNDERSCORES_RE, _UNDERSCORES_ERROR)


def dns1035_label(text: str) -> list[str]:
    return _check(text, 63, _LABEL_1035_RE, _LABEL_1035_ERROR)


def wildcard_subdomain(text: str) -> list[str]:
    """``*.example.com``."""
    pattern = rf"\*\.{_SUBDOMAIN}"
    error = _regex_error(
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
        "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
        pattern,
        "*.example.com",
    )
    return _check(text, 253, re.compile(pattern, re.ASCII), error)


def path_segment(text: str) -> list[str]:
    """Names that only have to fit a URL: RBAC kinds (path.IsValidPathSegmentName)."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{character}'" for character in ("/", "%") if character in text]


def qualified_name(text: str) -> list[str]:
    """``[prefix/]name``: label keys, annotation keys, finalizers, resource names."""
    if len(text) <= 63 and _QUALIFIED_RE.fullmatch(text):
        return []  # no prefix, and nothing wrong: nearly every one
    problems: list[str] = []
    parts = text.split("/")
    if len(parts) > 2:
        return [
            f"a qualified name {_QUALIFIED_ERROR} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        ]
    if len(parts) == 2:
        if not parts[0]:
            problems.append("prefix part must be non-empty")
        else:
            problems.extend(f"prefix part {problem}" for problem in dns1123_subdomain(parts[0]))
    name = parts[-1]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part must be no more than 63 bytes")
    if not _QUALIFIED_RE.fullmatch(name):
        problems.append(f"name part {_QUALIFIED_ERROR}")
    return problems


def label_value(text: str) -> list[str]:
    return _check(text, 63, _LABEL_VALUE_RE, _LABEL_VALUE_ERROR)


def config_map_key(text: str) -> list[str]:
    problems = _check(text, 253, _CONFIG_MAP_KEY_RE, _CONFIG_MAP_KEY_ERROR)
    if text == ".":
        problems.append("must not be '.'")
    elif text == "..":
        problems.append("must not be '..'")
    elif text.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def env_var_name(text: str) -> list[str]:
    """Since v1.34 (RelaxedEnvironmentVariableValidation): any printable ASCII but ``=``."""
    if not text:
        return ["environment variable name must be non-empty"]
    if all(" " <= character <= "~" and character != "=" for character in text):
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def http_header_name(text: str) -> list[str]:
    return [] if _HTTP_HEADER_RE.fullmatch(text) else [_HTTP_HEADER_ERROR]


def port_name(text: str) -> list[str]:
    """The IANA service name of a container port."""
    problems = []
    if len(text) > 15:
        problems.append(max_length(15))
    if not re.fullmatch(r"[-a-z0-9]+", text, re.ASCII):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", text, re.ASCII):
        problems.append("must contain at least one letter (a-z)")
    if "--" in text:
        problems.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def port_number(port: int) -> list[str]:
    return [] if 1 <= port <= 65535 else ["must be between 1 and 65535, inclusive"]


def percent(text: str) -> list[str]:
    if re.fullmatch(r"[0-9]+%", text, re.ASCII):
        return []
    return ["a valid percent string must be a numeric string followed by an ending '%' "
            "(e.g. '1%', or '93%', regex used for validation is '[0-9]+%')"]  # fmt: skip


def ip_address(text: str) -> list[str]:
    """A plain IPv4 or IPv6 address. Leading zeros in an octet are refused, as upstream does for new values."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"] if "%" in str(address) else []


def cidr(text: str) -> list[str]:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
    # A scope ("%...") is none of upstream's, and may be any text.
    return (
        [] if "/" in text and "%" not in text else ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
    )


def as_prefix(check: NameCheck, text: str) -> list[str]:
    """Checks a ``generateName``: a trailing dash is fine, because characters follow (maskTrailingDash)."""
    return check(text[:-1] + "a" if len(text) > 1 and text.endswith("-") else text)
