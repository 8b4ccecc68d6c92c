"""ValidatingWebhookConfiguration and MutatingWebhookConfiguration (admissionregistration.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import (
    GONE,
    SUBDOMAIN,
    Invalid,
    KindCases,
    Row,
    Update,
    duplicate,
    invalid,
    not_supported,
    required,
)

_RULE = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments", "pods/*"]}
_HOOK: dict[str, Any] = {
    "name": "a.ex.io",
    "clientConfig": {"url": "https://ex.io/a"},
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}
_FULL: dict[str, Any] = {
    "name": "b.ex.io",
    "clientConfig": {"service": {"namespace": "default", "name": "hook", "path": "/a", "port": 8443}},
    "rules": [{**_RULE, "scope": "Namespaced"}],
    "failurePolicy": "Ignore",
    "matchPolicy": "Exact",
    "namespaceSelector": {"matchLabels": {"a": "b"}},
    "objectSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
    "sideEffects": "NoneOnDryRun",
    "timeoutSeconds": 5,
    "admissionReviewVersions": ["v1", "v1beta1"],
    "matchConditions": [{"name": "not-mine", "expression": "request.userInfo.username != 'me'"}],
}
_DEFAULTS = {
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "timeoutSeconds": 10,
}
_W = "webhooks[0]"
_FORM = "; desired format: https://host[/path]"
_UNKNOWN = "compilation failed: ERROR: <input>:1:1: undeclared reference to 'me' (in container '')\n | me\n | ^"


def _cases(kind: str, *, mutating: bool) -> KindCases:
    never = {"reinvocationPolicy": "Never"} if mutating else {}
    full = {**_FULL, "reinvocationPolicy": "IfNeeded"} if mutating else _FULL
    more = (
        [
            Invalid(
                "asked again now and then",
                {"webhooks.0.reinvocationPolicy": "Often"},
                [not_supported(f"{_W}.reinvocationPolicy", '"Often"', "IfNeeded", "Never")],
            )
        ]
        if mutating
        else []
    )
    return KindCases(
        api_version="admissionregistration.k8s.io/v1",
        kind=kind,
        plural=f"{kind.lower()}s",
        namespaced=False,
        generation=True,
        minimal={"metadata": {"name": "a"}, "webhooks": [_HOOK]},
        minimal_stored={"webhooks": [{**_HOOK, **_DEFAULTS, **never}]},
        full={"metadata": {"name": "a"}, "webhooks": [full]},
        full_stored={"webhooks": [full]},
        invalid=[
            Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
            Invalid("a webhook without name", {"webhooks.0.name": ""}, [required(f"{_W}.name")]),
            Invalid(
                "a webhook of two segments",
                {"webhooks.0.name": "ex.io"},
                [invalid(f"{_W}.name", '"ex.io"', "should be a domain with at least three segments separated by dots")],
            ),
            Invalid(
                "a webhook twice",
                {"webhooks.+": {**_HOOK, "name": "b.ex.io"}},
                [duplicate("webhooks[1].name", '"b.ex.io"')],
                together=True,
            ),
            Invalid(
                "side effects",
                {"webhooks.0.sideEffects": "Some"},
                [not_supported(f"{_W}.sideEffects", '"Some"', "None", "NoneOnDryRun")],
            ),
            Invalid(
                "unsaid side effects",
                {"webhooks.0.sideEffects": GONE},
                [required(f"{_W}.sideEffects", "must specify one of None, NoneOnDryRun")],
            ),
            Invalid(
                "policies that are none",
                {"webhooks.0.failurePolicy": "Hope", "webhooks.0.matchPolicy": "Like"},
                [
                    not_supported(f"{_W}.failurePolicy", '"Hope"', "Fail", "Ignore"),
                    not_supported(f"{_W}.matchPolicy", '"Like"', "Equivalent", "Exact"),
                ],
            ),
            Invalid(
                "a long time",
                {"webhooks.0.timeoutSeconds": 31},
                [invalid(f"{_W}.timeoutSeconds", "31", "the timeout value must be between 1 and 30 seconds")],
            ),
            Invalid(
                "reviews of no known version",
                {"webhooks.0.admissionReviewVersions": ["v2"]},
                [invalid(f"{_W}.admissionReviewVersions", '["v2"]', "must include at least one of v1, v1beta1")],
                together=True,
            ),
            Invalid(
                "nobody to ask",
                {"webhooks.0.clientConfig": {}},
                [required(f"{_W}.clientConfig", "exactly one of url or service is required")],
                together=True,
            ),
            Invalid(
                "two to ask",
                {"webhooks.0.clientConfig.url": "https://ex.io"},
                [required(f"{_W}.clientConfig", "exactly one of url or service is required")],
                together=True,
            ),
            Invalid(
                "somebody to ask in the open",
                {"webhooks.0.clientConfig.url": "http://ex.io"},
                [invalid(f"{_W}.clientConfig.url", '"http"', f"'https' is the only allowed URL scheme{_FORM}")],
                on="minimal",
            ),
            Invalid(
                "all operations and one",
                {"webhooks.0.rules.0.operations": ["*", "CREATE"]},
                [
                    invalid(
                        f"{_W}.rules[0].operations",
                        '["*","CREATE"]',
                        "if '*' is present, must not specify other operations",
                    )
                ],
                together=True,
            ),
            Invalid(
                "an unknown operation, on nothing",
                {"webhooks.0.rules.0": {"operations": ["READ"], "apiGroups": [], "apiVersions": [], "resources": []}},
                [
                    not_supported(
                        f"{_W}.rules[0].operations[0]", '"READ"', "*", "CONNECT", "CREATE", "DELETE", "UPDATE"
                    ),
                    required(f"{_W}.rules[0].apiGroups"),
                    required(f"{_W}.rules[0].apiVersions"),
                    required(f"{_W}.rules[0].resources"),
                ],
            ),
            Invalid(
                "what a wildcard says already",
                {"webhooks.0.rules.0.resources": ["pods/*", "pods/log"]},
                [
                    invalid(
                        f"{_W}.rules[0].resources[1]",
                        '"pods/log"',
                        "if 'pods/*' is present, must not specify pods/log",
                    )
                ],
                together=True,
            ),
            Invalid(
                "a condition on a stranger",
                {"webhooks.0.matchConditions.0.expression": "me"},
                [invalid(f"{_W}.matchConditions[0].expression", '"me"', _UNKNOWN)],
            ),
            Invalid(
                "a condition without a name",
                {"webhooks.0.matchConditions.0.name": ""},
                [required(f"{_W}.matchConditions[0].name")],
            ),
            *more,
        ],
        updates=[
            Update("another time", {"webhooks.0.timeoutSeconds": 6}, allowed=True),
            Update("no webhooks", {"webhooks": GONE}, allowed=True),
            Update("a webhook without name", {"webhooks.0.name": ""}, [required(f"{_W}.name")]),
        ],
        rows=[
            Row("one", {}, ["a", 1, "60m"]),
            Row("none", {"webhooks": GONE}, ["a", 0, "60m"]),
            Row("two", {"webhooks.+": _HOOK}, ["a", 2, "60m"]),
        ],
    )


CASES = [
    _cases("ValidatingWebhookConfiguration", mutating=False),
    _cases("MutatingWebhookConfiguration", mutating=True),
]
