"""ValidatingAdmissionPolicyBinding and MutatingAdmissionPolicyBinding (admissionregistration.k8s.io/v1)."""

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
    forbidden,
    invalid,
    not_supported,
    required,
)

_RULE = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
_FULL: dict[str, Any] = {
    "policyName": "p",
    "paramRef": {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Allow"},
    "matchResources": {
        "resourceRules": [{**_RULE, "scope": "*", "resourceNames": ["a"]}],
        "matchPolicy": "Exact",
        "namespaceSelector": {"matchLabels": {"a": "b"}},
        "objectSelector": {"matchLabels": {"c": "d"}},
    },
}
_BOTH = (
    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and "
    "headers serves no purpose)"
)
_EXCLUSIVE = "name and selector are mutually exclusive"


def _cases(kind: str, *, validating: bool) -> KindCases:
    actions = {"validationActions": ["Deny", "Audit"]} if validating else {}
    of_actions = (
        [
            Invalid(
                "no action",
                {"spec.validationActions": GONE},
                [required("spec.validationActions", "at least one validation action is required")],
            ),
            Invalid(
                "an unknown action",
                {"spec.validationActions": ["Deny", "Shout"]},
                [not_supported("spec.validationActions[1]", '"Shout"', "Audit", "Deny", "Warn")],
            ),
            Invalid(
                "an action twice",
                {"spec.validationActions": ["Audit", "Audit"]},
                [duplicate("spec.validationActions[1]", '"Audit"')],
                together=True,
            ),
            Invalid(
                "refused and warned of",
                {"spec.validationActions": ["Deny", "Warn"]},
                [invalid("spec.validationActions", '["Deny","Warn"]', _BOTH)],
                together=True,
            ),
        ]
        if validating
        else []
    )
    return KindCases(
        api_version="admissionregistration.k8s.io/v1",
        kind=kind,
        plural=f"{kind.lower()}s",
        namespaced=False,
        generation=True,
        minimal={"metadata": {"name": "a"}, "spec": {"policyName": "p", **actions}},
        minimal_stored={"spec": {"policyName": "p", **actions}},
        full={"metadata": {"name": "a"}, "spec": {**_FULL, **actions}},
        full_stored={"spec": {**_FULL, **actions}},
        invalid=[
            Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
            Invalid("no policy", {"spec.policyName": ""}, [required("spec.policyName")]),
            Invalid("a policy with capitals", {"spec.policyName": "P"}, [invalid("spec.policyName", '"P"', SUBDOMAIN)]),
            Invalid(
                "parameters by name and by label",
                {"spec.paramRef.selector": {"matchLabels": {"a": "b"}}},
                [
                    forbidden("spec.paramRef.name", _EXCLUSIVE),
                    forbidden("spec.paramRef.selector", _EXCLUSIVE),
                ],
                together=True,
            ),
            Invalid(
                "parameters of no name",
                {"spec.paramRef.name": GONE},
                [
                    required("spec.paramRef", "one of name or selector must be specified"),
                ],
                together=True,
            ),
            Invalid(
                "no word on parameters that are not there",
                {"spec.paramRef.parameterNotFoundAction": "Shrug"},
                [not_supported("spec.paramRef.parameterNotFoundAction", '"Shrug"', "Deny", "Allow")],
            ),
            Invalid(
                "a resource twice",
                {"spec.matchResources.resourceRules.0.resourceNames": ["a", "a"]},
                [duplicate("spec.matchResouces.resourceRules[0].resourceNames[1]", '"a"')],
                together=True,
            ),
            Invalid(
                "like what it matches",
                {"spec.matchResources.matchPolicy": "Like"},
                [not_supported("spec.matchResouces.matchPolicy", '"Like"', "Equivalent", "Exact")],
            ),
            *of_actions,
        ],
        updates=[
            Update("another policy", {"spec.policyName": "q"}, allowed=True),
            Update("no policy", {"spec.policyName": ""}, [required("spec.policyName")]),
        ],
        rows=[
            Row("without parameters", {}, ["a", "p", "<unset>", "60m"]),
            Row("of a namespace", {}, ["a", "p", "default/limits", "60m"], on="full"),
            Row("of the cluster", {"spec.paramRef": {"name": "l"}}, ["a", "p", "l", "60m"]),
            Row("by label", {"spec.paramRef": {"selector": {}}}, ["a", "p", "", "60m"]),
        ],
    )


CASES = [
    _cases("ValidatingAdmissionPolicyBinding", validating=True),
    _cases("MutatingAdmissionPolicyBinding", validating=False),
]
