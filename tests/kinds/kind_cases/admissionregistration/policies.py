"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy (admissionregistration.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import GONE, SUBDOMAIN, Invalid, KindCases, Row, Update, forbidden, invalid, not_supported, required

_RULE = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
_MATCH: dict[str, Any] = {"resourceRules": [_RULE]}
_MATCH_STORED: dict[str, Any] = {
    "resourceRules": [{**_RULE, "scope": "*"}],
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
}
_MATCH_FULL: dict[str, Any] = {
    "resourceRules": [{**_RULE, "scope": "Namespaced", "resourceNames": ["a"]}],
    "excludeResourceRules": [{**_RULE, "scope": "Cluster"}],
    "matchPolicy": "Exact",
    "namespaceSelector": {"matchLabels": {"a": "b"}},
    "objectSelector": {"matchLabels": {"c": "d"}},
}
_SHARED: dict[str, Any] = {
    "failurePolicy": "Ignore",
    "paramKind": {"apiVersion": "ex.io/v1", "kind": "Limit"},
    "matchConstraints": _MATCH_FULL,
    "matchConditions": [{"name": "not-mine", "expression": "request.userInfo.username != 'me'"}],
    "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
}
_VALIDATION = {"expression": "object.spec.replicas < 5"}
_VALIDATING = {
    **_SHARED,
    "validations": [
        {
            "expression": "variables.replicas <= params.most",
            "message": "too many",
            "messageExpression": "'more than ' + string(params.most)",
            "reason": "Forbidden",
        }
    ],
    "auditAnnotations": [{"key": "replicas", "valueExpression": "string(variables.replicas)"}],
}
_MUTATION = {
    "patchType": "ApplyConfiguration",
    "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: 1}}"},
}
_JSON_PATCH = {
    "patchType": "JSONPatch",
    "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/spec/paused'}]"},
}
_MUTATING = {**_SHARED, "mutations": [_MUTATION, _JSON_PATCH], "reinvocationPolicy": "IfNeeded"}
_NEEDED = "validations or auditAnnotations must contain at least one item"
_UNKNOWN = "compilation failed: ERROR: <input>:1:1: undeclared reference to 'me' (in container '')\n | me\n | ^"

#: of both
_INVALID = [
    Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)], on="minimal"),
    Invalid(
        "an unknown policy of failures",
        {"spec.failurePolicy": "Hope"},
        [not_supported("spec.failurePolicy", '"Hope"', "Fail", "Ignore")],
    ),
    Invalid("about nothing", {"spec.matchConstraints": GONE}, [required("spec.matchConstraints")]),
    Invalid(
        "about no resource",
        {"spec.matchConstraints.resourceRules": []},
        [required("spec.matchConstraints.resourceRules")],
        together=True,
    ),
    Invalid(
        "all operations and one",
        {"spec.matchConstraints.resourceRules.0.operations": ["*", "CREATE"]},
        [
            invalid(
                "spec.matchConstraints.resourceRules[0].operations",
                '["*","CREATE"]',
                "if '*' is present, must not specify other operations",
            )
        ],
        together=True,
    ),
    Invalid(
        "parameters of no kind",
        {"spec.paramKind": {"apiVersion": "", "kind": ""}},
        [required("spec.paramKind.apiVersion"), required("spec.paramKind.kind")],
    ),
    Invalid(
        "parameters of a version that is none",
        {"spec.paramKind.apiVersion": "a/b/c"},
        [invalid("spec.paramKind.apiVersion", '"a/b/c"', "unexpected GroupVersion string: a/b/c")],
    ),
    Invalid(
        "a condition on a stranger",
        {"spec.matchConditions.0.expression": "me"},
        [invalid("spec.matchConditions[0].expression", '"me"', _UNKNOWN)],
    ),
    Invalid(
        "a variable that no expression can name",
        {"spec.variables.+": {"name": "a b", "expression": "1"}},
        [invalid("spec.variables[1].name", '"a b"', "name is not a valid CEL identifier")],
    ),
]

CASES = [
    KindCases(
        api_version="admissionregistration.k8s.io/v1",
        kind="ValidatingAdmissionPolicy",
        plural="validatingadmissionpolicies",
        namespaced=False,
        generation=True,
        minimal={"metadata": {"name": "a"}, "spec": {"matchConstraints": _MATCH, "validations": [_VALIDATION]}},
        minimal_stored={
            "spec": {"matchConstraints": _MATCH_STORED, "validations": [_VALIDATION], "failurePolicy": "Fail"},
            "status": {},
        },
        full={"metadata": {"name": "a"}, "spec": _VALIDATING},
        full_stored={"spec": _VALIDATING, "status": {}},
        invalid=[
            *_INVALID,
            Invalid(
                "nothing to check",
                {"spec.validations": GONE, "spec.auditAnnotations": GONE},
                [required("spec.validations", _NEEDED), required("spec.auditAnnotations", _NEEDED)],
                together=True,
            ),
            Invalid(
                "a check of nothing",
                {"spec.validations.0.expression": " "},
                [required("spec.validations[0].expression", "expression is not specified")],
            ),
            Invalid(
                "a message of two lines, for an unknown reason",
                {"spec.validations.0.message": "a\nb", "spec.validations.0.reason": "Because"},
                [
                    invalid("spec.validations[0].message", '"a\\nb"', "message must not contain line breaks"),
                    not_supported(
                        "spec.validations[0].reason", '"Because"', "Forbidden", "Invalid", "RequestEntityTooLarge"
                    ),
                ],
            ),
        ],
        updates=[
            Update("ignored no more", {"spec.failurePolicy": "Fail"}, allowed=True),
            Update(
                "nothing to check",
                {"spec.validations": GONE, "spec.auditAnnotations": GONE},
                [required("spec.validations", _NEEDED), required("spec.auditAnnotations", _NEEDED)],
            ),
        ],
        rows=[
            Row("one check", {}, ["a", 1, "<unset>", "60m"]),
            Row("with parameters", {}, ["a", 1, "ex.io/v1/Limit", "60m"], on="full"),
        ],
    ),
    KindCases(
        api_version="admissionregistration.k8s.io/v1",
        kind="MutatingAdmissionPolicy",
        plural="mutatingadmissionpolicies",
        namespaced=False,
        generation=True,
        minimal={
            "metadata": {"name": "a"},
            "spec": {"matchConstraints": _MATCH, "mutations": [_MUTATION], "reinvocationPolicy": "Never"},
        },
        minimal_stored={
            "spec": {
                "matchConstraints": _MATCH_STORED,
                "mutations": [_MUTATION],
                "reinvocationPolicy": "Never",
                "failurePolicy": "Fail",
            }
        },
        full={"metadata": {"name": "a"}, "spec": _MUTATING},
        full_stored={"spec": _MUTATING},
        invalid=[
            *_INVALID,
            Invalid(
                "nothing to change",
                {"spec.mutations": GONE},
                [required("spec.mutations", "mutations must contain at least one item")],
            ),
            Invalid(
                "a patch of no kind",
                {"spec.mutations.0.patchType": "Guess"},
                [not_supported("spec.mutations[0].patchType", '"Guess"', "ApplyConfiguration", "JSONPatch")],
            ),
            Invalid(
                "a patch of the other kind",
                {"spec.mutations.0.patchType": "JSONPatch"},
                [
                    required("spec.mutations[0].jsonPatch", "must be specified when patchType is JSONPatch"),
                    forbidden(
                        "spec.mutations[0].applyConfiguration", "must not be specified when patchType is JSONPatch"
                    ),
                ],
                together=True,
            ),
            Invalid(
                "asked again now and then",
                {"spec.reinvocationPolicy": GONE},
                [required("spec.reinvocationPolicy")],
            ),
        ],
        updates=[
            Update("asked once", {"spec.reinvocationPolicy": "Never"}, allowed=True),
            Update(
                "nothing to change",
                {"spec.mutations": []},
                [required("spec.mutations", "mutations must contain at least one item")],
            ),
        ],
        rows=[
            Row("one change", {}, ["a", 1, "<unset>", "60m"]),
            Row("with parameters", {}, ["a", 2, "ex.io/v1/Limit", "60m"], on="full"),
        ],
    ),
]
