"""Filters of HTTPRoutes and GRPCRoutes, as structural schemas. Pure."""

from __future__ import annotations

from typing import Final

from sampan.api.types import Obj
from sampan.edge.gateway.definitions.values import (
    BACKEND_OBJECT,
    HEADER_NAME,
    LOCAL_REFERENCE,
    PORT,
    PRECISE_HOSTNAME,
    Rule,
    choice,
    listed,
    record,
    rules,
    text,
    whole,
)

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
METHOD: Final = choice(*_METHODS)

_HEADER: Final = record({"name": HEADER_NAME, "value": text(4096, 1)}, "name", "value")
_HEADERS: Final = listed(_HEADER, 16, 0, "map", "name")
_HEADER_FILTER: Final = record({"add": _HEADERS, "remove": listed({"type": "string"}, 16, 0, "set"), "set": _HEADERS})
_FRACTION: Final = record(
    {"denominator": whole(1, default=100), "numerator": whole(0)},
    "numerator",
    **rules(("numerator must be less than or equal to denominator", "self.numerator <= self.denominator")),
)
_MIRROR: Final = record(
    {"backendRef": BACKEND_OBJECT, "fraction": _FRACTION, "percent": whole(0, 100)},
    "backendRef",
    **rules(
        (
            "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter",
            "!has(self.percent) || !has(self.fraction)",
        )
    ),
)


def _path_modifier() -> Obj:
    kept: list[Rule] = []
    for field, kind in (("replaceFullPath", "ReplaceFullPath"), ("replacePrefixMatch", "ReplacePrefixMatch")):
        kept.append(
            (f"{field} must be specified when type is set to '{kind}'", f"self.type != '{kind}' || has(self.{field})")
        )
        kept.append((f"type must be '{kind}' when {field} is set", f"!has(self.{field}) || self.type == '{kind}'"))
    return record(
        {
            "replaceFullPath": text(1024),
            "replacePrefixMatch": text(1024),
            "type": choice("ReplaceFullPath", "ReplacePrefixMatch"),
        },
        "type",
        **rules(*kept),
    )


_REDIRECT: Final = record(
    {
        "hostname": PRECISE_HOSTNAME,
        "path": _path_modifier(),
        "port": PORT,
        "scheme": choice("http", "https"),
        "statusCode": {"type": "integer", "enum": [301, 302, 303, 307, 308], "default": 302},
    }
)
_REWRITE: Final = record({"hostname": PRECISE_HOSTNAME, "path": _path_modifier()})

_ORIGIN: Final = text(
    253, 1, r"(^\*$)|(^(http(s)?):\/\/(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$)"
)


def _alone(field: str, others: str) -> Obj:
    return rules((f"{field} cannot contain '*' alongside other {others}", "self.size() <= 1 || !('*' in self)"))


_CORS: Final = record(
    {
        "allowCredentials": {"type": "boolean"},
        "allowHeaders": listed(HEADER_NAME, 64, 0, "set", **_alone("AllowHeaders", "methods")),
        "allowMethods": listed(choice(*_METHODS, "*"), 9, 0, "set", **_alone("AllowMethods", "methods")),
        "allowOrigins": listed(_ORIGIN, 64, 0, "set", **_alone("AllowOrigins", "origins")),
        "exposeHeaders": listed(HEADER_NAME, 64, 0, "set"),
        "maxAge": whole(1, default=5),
    }
)

#: type of a filter → the field that says what it does
HTTP_FILTERS: Final = {
    "RequestHeaderModifier": ("requestHeaderModifier", _HEADER_FILTER),
    "ResponseHeaderModifier": ("responseHeaderModifier", _HEADER_FILTER),
    "RequestMirror": ("requestMirror", _MIRROR),
    "RequestRedirect": ("requestRedirect", _REDIRECT),
    "URLRewrite": ("urlRewrite", _REWRITE),
    "ExtensionRef": ("extensionRef", LOCAL_REFERENCE),
    "CORS": ("cors", _CORS),
}
GRPC_FILTERS: Final = {
    each: HTTP_FILTERS[each]
    for each in ("ResponseHeaderModifier", "RequestHeaderModifier", "RequestMirror", "ExtensionRef")
}
#: may be used several times in one rule
_REPEATED: Final = ("RequestMirror", "ExtensionRef")


def filters(known: dict[str, tuple[str, Obj]], *more: Rule) -> Obj:
    kept: list[Rule] = []
    for kind, (field, _) in known.items():
        kept.append(
            (
                f"filter.{field} must be nil if the filter.type is not {kind}",
                f"!has(self.{field}) || self.type == '{kind}'",
            )
        )
        kept.append(
            (f"filter.{field} must be specified for {kind} filter.type", f"self.type != '{kind}' || has(self.{field})")
        )
    fields = dict(known.values())
    each = record({**fields, "type": choice(*known)}, "type", **rules(*kept))
    once = [
        (f"{kind} filter cannot be repeated", f"self.filter(f, f.type == '{kind}').size() <= 1")
        for kind in known
        if kind not in _REPEATED
    ]
    return listed(each, 16, **rules(*more, *once))


def http_filters() -> Obj:
    return filters(
        HTTP_FILTERS,
        (
            "May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both",
            "!(self.exists(f, f.type == 'RequestRedirect') && self.exists(f, f.type == 'URLRewrite'))",
        ),
    )


def grpc_filters() -> Obj:
    return filters(GRPC_FILTERS)
