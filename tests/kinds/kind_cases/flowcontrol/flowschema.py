"""FlowSchema (flowcontrol.apiserver.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import (
    GONE,
    LABEL,
    SUBDOMAIN,
    Invalid,
    KindCases,
    Row,
    Update,
    forbidden,
    invalid,
    not_supported,
    required,
)

_RULE = {
    "subjects": [
        {"kind": "User", "user": {"name": "alice"}},
        {"kind": "Group", "group": {"name": "*"}},
        {"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}},
    ],
    "resourceRules": [
        {"verbs": ["get", "proxy"], "apiGroups": ["apps"], "resources": ["deployments"], "namespaces": ["default"]},
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]},
    ],
    "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/", "/apis/*"]}],
}
_FULL = {
    "priorityLevelConfiguration": {"name": "workload-low"},
    "matchingPrecedence": 500,
    "distinguisherMethod": {"type": "ByNamespace"},
    "rules": [_RULE],
}
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_R = "spec.rules[0]"
_MEMBER = "each member of this list must be '*' or a DNS-1123 label; "


def _status(kind: str, status: str) -> dict[str, object]:
    return {"status.conditions": [{"type": kind, "status": status}]}


CASES = KindCases(
    api_version="flowcontrol.apiserver.k8s.io/v1",
    kind="FlowSchema",
    plural="flowschemas",
    namespaced=False,
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": {"priorityLevelConfiguration": {"name": "exempt"}}},
    minimal_stored={
        "spec": {"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 1000},
        "status": {},
    },
    full={"metadata": {"name": "a"}, "spec": _FULL},
    full_stored={"spec": _FULL, "status": {}},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
        Invalid(
            "before all others",
            {"spec.matchingPrecedence": -1},
            [invalid("spec.matchingPrecedence", "-1", "must be a positive value")],
        ),
        Invalid(
            "after all others",
            {"spec.matchingPrecedence": 10001},
            [invalid("spec.matchingPrecedence", "10001", "must not be greater than 10000")],
        ),
        Invalid(
            "the first, and not exempt",
            {"spec.matchingPrecedence": 1},
            [invalid("spec.matchingPrecedence", "1", "only the schema named 'exempt' may have matchingPrecedence 1")],
            together=True,
        ),
        Invalid(
            "flows told apart by nothing",
            {"spec.distinguisherMethod.type": "ByDay"},
            [not_supported("spec.distinguisherMethod.type", '{"Type":"ByDay"}', "ByNamespace", "ByUser")],
        ),
        Invalid(
            "no priority level",
            {"spec.priorityLevelConfiguration.name": ""},
            [required("spec.priorityLevelConfiguration.name", "must reference a priority level")],
        ),
        Invalid(
            "a priority level with capitals",
            {"spec.priorityLevelConfiguration.name": "Low"},
            [invalid("spec.priorityLevelConfiguration.name", '"Low"', SUBDOMAIN)],
        ),
        Invalid(
            "an empty rule",
            {"spec.rules.0": {"subjects": []}},
            [
                required(f"{_R}.subjects", "subjects must contain at least one value"),
                required(_R, "at least one of resourceRules and nonResourceRules has to be non-empty"),
            ],
            together=True,
        ),
        Invalid(
            "a subject of no kind",
            {"spec.rules.0.subjects.0.kind": "Robot"},
            [not_supported(f"{_R}.subjects[0].kind", '"Robot"', "Group", "ServiceAccount", "User")],
        ),
        Invalid(
            "a user that is a group",
            {"spec.rules.0.subjects.0": {"kind": "User", "group": {"name": "g"}}},
            [
                required(f"{_R}.subjects[0].user", "user is required when subject kind is 'User'"),
                forbidden(f"{_R}.subjects[0].group", "group is forbidden when subject kind is not 'Group'"),
            ],
            together=True,
        ),
        Invalid(
            "an account that is a user and a group too",
            {"spec.rules.0.subjects.2.user": {"name": "u"}, "spec.rules.0.subjects.2.group": {"name": "g"}},
            [
                forbidden(f"{_R}.subjects[2].user", "user is forbidden when subject kind is not 'User'"),
                forbidden(f"{_R}.subjects[2].group", "group is forbidden when subject kind is not 'Group'"),
            ],
            together=True,
        ),
        Invalid(
            "a group that is an account",
            {"spec.rules.0.subjects.1.serviceAccount": {"namespace": "a", "name": "b"}},
            [
                forbidden(
                    f"{_R}.subjects[1].serviceAccount",
                    "serviceAccount is forbidden when subject kind is not 'ServiceAccount'",
                )
            ],
            together=True,
        ),
        Invalid(
            "an account of nowhere",
            {"spec.rules.0.subjects.2.serviceAccount": {"namespace": "", "name": ""}},
            [
                required(f"{_R}.subjects[2].serviceAccount.name"),
                required(f"{_R}.subjects[2].serviceAccount.namespace", "must specify namespace for service account"),
            ],
        ),
        Invalid(
            "an account with capitals",
            {"spec.rules.0.subjects.2.serviceAccount": {"namespace": "A", "name": "B"}},
            [
                invalid(f"{_R}.subjects[2].serviceAccount.name", '"B"', SUBDOMAIN),
                invalid(f"{_R}.subjects[2].serviceAccount.namespace", '"A"', LABEL),
            ],
        ),
        Invalid(
            "users and groups without name",
            {"spec.rules.0.subjects.0.user.name": "", "spec.rules.0.subjects.1.group.name": ""},
            [required(f"{_R}.subjects[0].user.name"), required(f"{_R}.subjects[1].group.name")],
        ),
        Invalid(
            "verbs that are none",
            {"spec.rules.0.resourceRules.0.verbs": ["get", "fly"]},
            [not_supported(f"{_R}.resourceRules[0].verbs", '["get","fly"]', *_VERBS)],
        ),
        Invalid(
            "all and more",
            {
                "spec.rules.0.resourceRules.1.verbs": ["*", "get"],
                "spec.rules.0.resourceRules.1.apiGroups": ["*", "apps"],
                "spec.rules.0.resourceRules.1.resources": ["pods", "*"],
                "spec.rules.0.resourceRules.1.namespaces": ["*", "default"],
                "spec.rules.0.nonResourceRules.0.nonResourceURLs": ["*", "/"],
            },
            [
                invalid(
                    f"{_R}.resourceRules[1].verbs", '["*","get"]', "if '*' is present, must not specify other verbs"
                ),
                invalid(
                    f"{_R}.resourceRules[1].apiGroups",
                    '["*","apps"]',
                    "if '*' is present, must not specify other api groups",
                ),
                invalid(
                    f"{_R}.resourceRules[1].resources",
                    '["pods","*"]',
                    "if '*' is present, must not specify other resources",
                ),
                invalid(
                    f"{_R}.resourceRules[1].namespaces",
                    '["*","default"]',
                    "if '*' is present, must not specify other namespaces",
                ),
                invalid(
                    f"{_R}.nonResourceRules[0].nonResourceURLs",
                    '["*","/"]',
                    "if '*' is present, must not specify other non-resource URLs",
                ),
            ],
            together=True,
        ),
        Invalid(
            "rules of nothing",
            {
                "spec.rules.0.resourceRules.0": {"verbs": [], "apiGroups": [], "resources": []},
                "spec.rules.0.nonResourceRules.0": {"verbs": [], "nonResourceURLs": []},
            },
            [
                required(f"{_R}.resourceRules[0].verbs", "verbs must contain at least one value"),
                required(f"{_R}.resourceRules[0].apiGroups", "resource rules must supply at least one api group"),
                required(f"{_R}.resourceRules[0].resources", "resource rules must supply at least one resource"),
                required(
                    f"{_R}.resourceRules[0].namespaces",
                    "resource rules that are not cluster scoped must supply at least one namespace",
                ),
                required(f"{_R}.nonResourceRules[0].verbs", "verbs must contain at least one value"),
                required(
                    f"{_R}.nonResourceRules[0].nonResourceURLs", "nonResourceURLs must contain at least one value"
                ),
            ],
        ),
        Invalid(
            "a namespace with capitals",
            {"spec.rules.0.resourceRules.0.namespaces": ["A"]},
            [invalid(f"{_R}.resourceRules[0].namespaces[0]", '"A"', f"{_MEMBER}{LABEL}")],
        ),
        Invalid(
            "paths that are none",
            {"spec.rules.0.nonResourceRules.0.nonResourceURLs": ["", "a", "/a b", "/a//b", "/a*", "/*/a/*"]},
            [
                invalid(f"{_R}.nonResourceRules[0].nonResourceURLs[{index}]", f'"{path}"', text)
                for index, (path, text) in enumerate(
                    [
                        ("", "must not be empty"),
                        ("a", "must start with slash"),
                        ("/a b", "must not contain white-space"),
                        ("/a//b", "must not contain double slash"),
                        ("/a*", "wildcard can only do suffix matching"),
                        ("/*/a/*", "wildcard can only do suffix matching"),
                    ]
                )
            ],
        ),
        Invalid(
            "another catch-all",
            {
                "metadata.name": "catch-all",
                "spec": {"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 10000},
            },
            [
                invalid(
                    "spec",
                    '{"PriorityLevelConfiguration":{"Name":"exempt"},"MatchingPrecedence":10000,'
                    '"DistinguisherMethod":null,"Rules":null}',
                    "spec of 'catch-all' must equal the fixed value",
                )
            ],
            together=True,
        ),
    ],
    updates=[
        Update("another place", {"spec.matchingPrecedence": 501}, allowed=True),
        Update(
            "no place",
            {"spec.matchingPrecedence": -5},
            [invalid("spec.matchingPrecedence", "-5", "must be a positive value")],
        ),
        Update(
            "a condition twice",
            {"status.conditions": [{"type": "Dangling", "status": "True"}, {"type": "", "status": "True"}]},
            [required("status.conditions[1].type", "must not be empty")],
            through="status",
        ),
        Update("no distinguisher", {"spec.distinguisherMethod": GONE}, allowed=True),
    ],
    rows=[
        Row("not looked at yet", {}, ["a", "exempt", 1000, "<none>", "60m", "?"]),
        Row("its level is there", _status("Dangling", "False"), ["a", "exempt", 1000, "<none>", "60m", "False"]),
        Row("its level is missing", _status("Dangling", "True"), ["a", "exempt", 1000, "<none>", "60m", "True"]),
        Row("another condition", _status("Other", "True"), ["a", "exempt", 1000, "<none>", "60m", "?"]),
        Row("all", {}, ["a", "workload-low", 500, "ByNamespace", "60m", "?"], on="full"),
    ],
)
