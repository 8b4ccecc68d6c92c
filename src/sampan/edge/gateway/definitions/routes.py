"""HTTPRoute, GRPCRoute and TLSRoute, as structural schemas. Pure."""

from __future__ import annotations

from typing import Final

from sampan.api.types import Obj
from sampan.edge.gateway.definitions.filters import METHOD, grpc_filters, http_filters
from sampan.edge.gateway.definitions.values import (
    DOMAIN,
    DURATION,
    HEADER_NAME,
    HOSTNAME,
    SECTION,
    Rule,
    backend,
    choice,
    listed,
    parents,
    record,
    rules,
    text,
)

_ANY_PATH: Final = {"type": "PathPrefix", "value": "/"}
_PATH_CHARACTERS: Final = r"^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$"
_PLAIN: Final = "self.type in ['Exact','PathPrefix']"
_UNIQUE_NAMES: Final = (
    "Rule name must be unique within the route",
    "self.all(r, !has(r.name) || self.exists_one(s, has(s.name) && s.name == r.name))",
)
_FEW_MATCHES: Final = (
    "While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules in a route "
    "must be less than 128",
    "self.map(r, has(r.matches) ? r.matches.size() : 0).sum() <= 128",
)


def _path_match() -> Obj:
    plain = "when type one of ['Exact', 'PathPrefix']"
    kept: list[Rule] = [
        (
            f"value must be an absolute path and start with '/' {plain}",
            f"{_PLAIN} ? self.value.startsWith('/') : true",
        )
    ]
    for each in ("//", "/./", "/../", "%2f", "%2F", "#"):
        kept.append((f"must not contain '{each}' {plain}", f"{_PLAIN} ? !self.value.contains('{each}') : true"))
    for each in ("/..", "/."):
        kept.append((f"must not end with '{each}' {plain}", f"{_PLAIN} ? !self.value.endsWith('{each}') : true"))
    kept.append(
        (
            "type must be one of ['Exact', 'PathPrefix', 'RegularExpression']",
            "self.type in ['Exact','PathPrefix','RegularExpression']",
        )
    )
    kept.append(
        (
            f"must only contain valid characters (matching {_PATH_CHARACTERS}) for types ['Exact', 'PathPrefix']",
            f'{_PLAIN} ? self.value.matches(r"""{_PATH_CHARACTERS}""") : true',
        )
    )
    return record(
        {
            "type": choice("Exact", "PathPrefix", "RegularExpression", default="PathPrefix"),
            "value": text(1024, default="/"),
        },
        default=_ANY_PATH,
        **rules(*kept),
    )


def _named_match(longest: int) -> Obj:
    """A match of a header or a query parameter."""
    each = record(
        {
            "name": HEADER_NAME,
            "type": choice("Exact", "RegularExpression", default="Exact"),
            "value": text(longest, 1),
        },
        *("name", "value"),
    )
    return listed(each, 16, 0, "map", "name")


def _prefix_rules() -> list[Rule]:
    """A prefix can be replaced only where it is clear which prefix matched."""
    one_prefix = "size(self.matches) == 1 && has(self.matches[0].path) && self.matches[0].path.type == 'PathPrefix'"
    kept: list[Rule] = []
    for within, when in (("", "When"), ("Within backendRefs, ", "when")):
        for kind, field in (("RequestRedirect", "requestRedirect"), ("URLRewrite", "urlRewrite")):
            word = "When" if kind == "URLRewrite" else when
            replaces = (
                f"(has(f.{field}) && has(f.{field}.path) && f.{field}.path.type == 'ReplacePrefixMatch' "
                f"&& has(f.{field}.path.replacePrefixMatch))"
            )
            asked = f"has(self.filters) && self.filters.exists_one(f, {replaces})"
            if within:
                asked = (
                    "has(self.backendRefs) && self.backendRefs.exists_one(b, "
                    f"has(b.filters) && b.filters.exists_one(f, {replaces}))"
                )
            message = (
                f"{within}{word} using {kind} filter with path.replacePrefixMatch, "
                "exactly one PathPrefix match must be specified"
            )
            kept.append((message, f"({asked}) ? ({one_prefix}) : true"))
    return kept


def http_spec() -> Obj:
    match = record(
        {
            "headers": _named_match(4096),
            "method": METHOD,
            "path": _path_match(),
            "queryParams": _named_match(1024),
        }
    )
    timeouts = record(
        {"backendRequest": DURATION, "request": DURATION},
        **rules(
            (
                "backendRequest timeout cannot be longer than request timeout",
                "!has(self.request) || !has(self.backendRequest) || duration(self.request) == duration('0s') "
                "|| duration(self.backendRequest) <= duration(self.request)",
            )
        ),
    )
    rule = record(
        {
            "backendRefs": listed(backend(filters=http_filters()), 16),
            "filters": http_filters(),
            "matches": listed(match, 64, default=[{"path": _ANY_PATH}]),
            "name": SECTION,
            "timeouts": timeouts,
        },
        **rules(
            (
                "RequestRedirect filter must not be used together with backendRefs",
                "!has(self.backendRefs) || size(self.backendRefs) == 0 || !has(self.filters) "
                "|| self.filters.all(f, !has(f.requestRedirect))",
            ),
            *_prefix_rules(),
        ),
    )
    default = [{"matches": [{"path": _ANY_PATH}]}]
    return record(
        {
            "hostnames": listed(HOSTNAME, 16),
            "parentRefs": parents(),
            "rules": listed(rule, 16, 1, default=default, **rules(_FEW_MATCHES, _UNIQUE_NAMES)),
        }
    )


def grpc_spec() -> Obj:
    exact = "(!has(self.type) || self.type == 'Exact')"
    service, name = r"^(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$", r"^[A-Za-z_][A-Za-z_0-9]*$"
    kept: list[Rule] = [
        (
            "One or both of 'service' or 'method' must be specified",
            "!has(self.type) || has(self.service) || has(self.method)",
        )
    ]
    for field, pattern in (("service", service), ("method", name)):
        kept.append(
            (
                f"{field} must only contain valid characters (matching {pattern})",
                f'{exact} && has(self.{field}) ? self.{field}.matches(r"""{pattern}""") : true',
            )
        )
    method = record(
        {
            "method": text(1024),
            "service": text(1024),
            "type": choice("Exact", "RegularExpression", default="Exact"),
        },
        **rules(*kept),
    )
    match = record({"headers": _named_match(4096), "method": method})
    rule = record(
        {
            "backendRefs": listed(backend(filters=grpc_filters()), 16),
            "filters": grpc_filters(),
            "matches": listed(match, 64),
            "name": SECTION,
        }
    )
    return record(
        {
            "hostnames": listed(HOSTNAME, 16),
            "parentRefs": parents(),
            "rules": listed(rule, 16, **rules(_FEW_MATCHES, _UNIQUE_NAMES)),
        }
    )


def tls_spec() -> Obj:
    matches = "matches('^({})$')".format(DOMAIN.replace("\\", "\\\\"))
    hostnames = listed(
        HOSTNAME,
        1024,
        1,
        **rules(
            ("Hostnames cannot contain an IP", "self.all(h, !isIP(h))"),
            ("Hostnames must be valid based on RFC-1123", f"self.all(h, h.contains('*') || h.{matches})"),
            (
                "Wildcards on hostnames must be the first label, and the rest of hostname must be valid based on "
                "RFC-1123",
                f"self.all(h, !h.contains('*') || (h.startsWith('*.') && h.substring(2).{matches}))",
            ),
        ),
    )
    rule = record({"backendRefs": listed(backend(), 16, 1), "name": SECTION}, "backendRefs")
    return record(
        {"hostnames": hostnames, "parentRefs": parents(), "rules": listed(rule, 1, 1)}, *("hostnames", "rules")
    )
