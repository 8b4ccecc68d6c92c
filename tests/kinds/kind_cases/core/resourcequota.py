"""ResourceQuota (v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import Invalid, KindCases, Row, Update, invalid, required

_MATCH = "spec.scopeSelector.matchExpressions"
_MISFIT = "unsupported scope applied to resource"
_ONLY_EXISTS = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)
_SPEC: dict[str, Any] = {
    "hard": {
        "cpu": "1", "limits.memory": "1Gi", "pods": "10", "requests.storage": "1536Mi",
        "count/deployments.apps": "5", "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
        "requests.example.com/gpu": "2", "hugepages-2Mi": "4Mi",
    },
}  # fmt: skip


def _scoped(hard: dict[str, str], *scopes: str) -> dict[str, Any]:
    return {"spec": {"hard": hard, "scopes": list(scopes)}}


def _selected(hard: dict[str, str], *terms: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"hard": hard, "scopeSelector": {"matchExpressions": list(terms)}}}


def _term(scope: str, operator: str, *values: str) -> dict[str, Any]:
    return {"scopeName": scope, "operator": operator, **({"values": list(values)} if values else {})}


CASES = KindCases(
    api_version="v1",
    kind="ResourceQuota",
    plural="resourcequotas",
    minimal={"metadata": {"name": "a"}},
    minimal_stored={"spec": {}, "status": {}},
    full={
        "metadata": {"name": "a"},
        "spec": {
            "hard": {"cpu": "1000m", "memory": 1073741824, "pods": 10},
            "scopes": ["NotTerminating", "NotBestEffort"],
            "scopeSelector": {
                "matchExpressions": [
                    {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]},
                    {"scopeName": "CrossNamespacePodAffinity", "operator": "Exists"},
                ],
            },
        },
    },
    full_stored={
        "spec": {
            "hard": {"cpu": "1", "memory": "1073741824", "pods": "10"},
            "scopes": ["NotTerminating", "NotBestEffort"],
            "scopeSelector": {
                "matchExpressions": [
                    {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]},
                    {"scopeName": "CrossNamespacePodAffinity", "operator": "Exists"},
                ],
            },
        },
        "status": {},
    },
    invalid=[
        Invalid(
            "a resource that nobody knows",
            {"spec.hard": {"foo": "1"}},
            [
                invalid("spec.hard[foo]", '"foo"', "must be a standard resource type or fully qualified"),
                invalid("spec.hard[foo]", '"foo"', "must be a standard resource for quota"),
            ],
            on="minimal",
        ),
        Invalid(
            "a resource that is not counted",
            {"spec.hard": {"storage": "1"}},
            [
                invalid("spec.hard[storage]", '"storage"', "must be a standard resource for quota"),
            ],
            on="minimal",
        ),
        Invalid(
            "amounts that cannot be",
            {"spec.hard": {"cpu": "-1", "pods": "500m"}},
            [
                invalid("spec.hard[cpu]", '"-1"', "must be greater than or equal to 0"),
                invalid("spec.hard[pods]", '"500m"', "must be an integer"),
            ],
            on="minimal",
        ),
        Invalid(
            "a scope that nobody knows",
            _scoped({"pods": "1"}, "Running"),
            [
                invalid("spec.scopes", '["Running"]', "unsupported scope"),
            ],
            on="minimal",
        ),
        Invalid(
            "a scope that its resources have nothing of",
            _scoped({"configmaps": "1", "services": "1"}, "Terminating"),
            [
                invalid("spec.scopes", '["Terminating"]', _MISFIT),
                invalid("spec.scopes", '["Terminating"]', _MISFIT),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "best effort that is limited",
            _scoped({"pods": "1", "cpu": "1"}, "BestEffort"),
            [
                invalid("spec.scopes", '["BestEffort"]', _MISFIT),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "scopes that exclude each other",
            _scoped({"pods": "1"}, "BestEffort", "NotBestEffort", "Terminating", "NotTerminating"),
            [
                *[
                    invalid(
                        "spec.scopes",
                        '["BestEffort","NotBestEffort","Terminating","NotTerminating"]',
                        "conflicting scopes",
                    )
                ]
                * 2,
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "terms that exclude each other",
            _selected({"pods": "1"}, _term("BestEffort", "Exists"), _term("NotBestEffort", "Exists")),
            [invalid(_MATCH, "null", "conflicting scopes")],
            on="minimal",
            together=True,
        ),
        Invalid(
            "a term that its resource has nothing of",
            _selected({"services": "1"}, _term("PriorityClass", "In", "a")),
            [
                invalid(
                    _MATCH,
                    '{"MatchExpressions":[{"ScopeName":"PriorityClass","Operator":"In","Values":["a"]}]}',
                    _MISFIT,
                ),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "an operator of a scope without values",
            _selected({"pods": "1"}, _term("Terminating", "In", "a")),
            [invalid(f"{_MATCH}.operator", '"In"', _ONLY_EXISTS)],
            on="minimal",
            together=True,
        ),
        Invalid(
            "an operator without its values, and with them",
            _selected({"pods": "1"}, _term("PriorityClass", "In"), _term("PriorityClass", "Exists", "a")),
            [
                required(
                    f"{_MATCH}.values",
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
                ),
                invalid(
                    f"{_MATCH}.values",
                    '["a"]',
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
                ),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "a term that nobody knows",
            _selected({"pods": "1"}, _term("Running", "Is")),
            [
                invalid(f"{_MATCH}.scopeName", '"Running"', "unsupported scope"),
                invalid(f"{_MATCH}.operator", '"Is"', "not a valid selector operator"),
            ],
            on="minimal",
        ),
    ],
    updates=[
        Update(
            "the scopes",
            {"spec.scopes": ["NotTerminating"]},
            [
                invalid("spec.scopes", '["NotTerminating"]', "field is immutable"),
            ],
        ),
        Update("the scopes taken away", {"spec.scopes": []}, [invalid("spec.scopes", "null", "field is immutable")]),
        Update(
            "the order of scopes, and an amount",
            {
                "spec.scopes": ["NotBestEffort", "NotTerminating"],
                "spec.hard.cpu": "2",
            },
            allowed=True,
        ),
        Update(
            "a count that cannot be",
            {"status.hard": {"foo": "1"}, "status.used": {"pods": "-1"}},
            [
                invalid("status.hard[foo]", '"foo"', "must be a standard resource type or fully qualified"),
                invalid("status.hard[foo]", '"foo"', "must be a standard resource for quota"),
                invalid("status.used[pods]", '"-1"', "must be greater than or equal to 0"),
            ],
            through="status",
        ),
        Update("a count", {"status": {"hard": {"pods": "10"}, "used": {"pods": "1"}}}, allowed=True, through="status"),
    ],
    rows=[
        Row("not counted yet", {}, ["a", "", "", "60m"]),
        Row(
            "counted",
            {
                "status": {
                    "hard": {"pods": "10", "limits.cpu": "2", "cpu": "1", "limits.memory": "1Gi"},
                    "used": {"pods": "3", "limits.cpu": "500m"},
                }
            },
            ["a", "cpu: 0/1, pods: 3/10", "limits.cpu: 500m/2, limits.memory: 0/1Gi", "60m"],
        ),
    ],
)
