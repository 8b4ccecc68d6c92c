"""ClusterRole (rbac.authorization.k8s.io/v1)."""

from __future__ import annotations

from kind_cases.rbac.role import GROUPS, RESOURCES, RULES, URL, VERBS
from kind_harness import GONE, Invalid, KindCases, Row, Update, invalid, required
from kind_texts import LABEL_VALUE

_SELECTORS = "aggregationRule.clusterRoleSelectors"
_LABEL = "rbac.ex.io/aggregate"
_BOTH = "rules cannot apply to both regular resources and non-resource URLs"
_FULL = {
    "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {_LABEL: "true"}}]},
    "rules": [*RULES, URL],
}

CASES = KindCases(
    api_version="rbac.authorization.k8s.io/v1",
    kind="ClusterRole",
    plural="clusterroles",
    namespaced=False,
    minimal={"metadata": {"name": "a"}},
    minimal_stored={"rules": None},
    full={"metadata": {"name": "system:a"}, **_FULL},
    full_stored=_FULL,
    invalid=[
        Invalid(
            "a name that is a folder", {"metadata.name": ".."}, [invalid("metadata.name", '".."', "may not be '..'")]
        ),
        Invalid("no verbs", {"rules.2.verbs": GONE}, [required("rules[2].verbs", VERBS)]),
        Invalid("no groups", {"rules.0.apiGroups": []}, [required("rules[0].apiGroups", GROUPS)]),
        Invalid("no resources", {"rules.1.resources": []}, [required("rules[1].resources", RESOURCES)]),
        Invalid(
            "sums up nothing",
            {"aggregationRule": {}},
            [required(_SELECTORS, "at least one clusterRoleSelector required if aggregationRule is non-nil")],
        ),
        Invalid(
            "sums up by no label",
            {f"{_SELECTORS}.0.matchLabels": {_LABEL: "a b"}},
            [
                invalid(f"{_SELECTORS}[0].matchLabels", '"a b"', LABEL_VALUE),
                invalid(f"{_SELECTORS}[0]", "null", "invalid label selector."),
            ],
        ),
        Invalid(
            "one of no values",
            {f"{_SELECTORS}.0": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            [
                required(
                    f"{_SELECTORS}[0].matchExpressions[0].values",
                    "must be specified when `operator` is 'In' or 'NotIn'",
                ),
                invalid(f"{_SELECTORS}[0]", "null", "invalid label selector."),
            ],
            together=True,
        ),
        Invalid(
            "paths and resources",
            {"rules.0.nonResourceURLs": ["/a"]},
            [invalid("rules[0].nonResourceURLs", '["/a"]', _BOTH)],
            together=True,
        ),
        Invalid(
            "paths and groups",
            {"rules.2.apiGroups": [""]},
            [invalid("rules[2].nonResourceURLs", '["/healthz"]', _BOTH)],
            together=True,
        ),
    ],
    updates=[
        Update("sums up no more", {"aggregationRule": GONE}, allowed=True),
        Update("other rules", {"rules": [URL]}, allowed=True),
        Update("rules that are wrong", {"rules.0.resources": []}, [required("rules[0].resources", RESOURCES)]),
    ],
    rows=[Row("no printer of its own", {}, ["a", "2026-11-21T11:00:00Z"])],
)
