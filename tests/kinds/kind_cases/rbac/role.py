"""Role (rbac.authorization.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import GONE, Invalid, KindCases, Row, Update, invalid, required

VERBS = "verbs must contain at least one value"
GROUPS = "resource rules must supply at least one api group"
RESOURCES = "resource rules must supply at least one resource"
_BOTH = "rules cannot apply to both regular resources and non-resource URLs"
_NAMESPACED = "namespaced rules cannot apply to non-resource URLs"
RULES = [
    {"verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["pods", "deployments/scale"]},
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["a"]},
]
URL = {"verbs": ["get"], "nonResourceURLs": ["/healthz"]}

CASES = KindCases(
    api_version="rbac.authorization.k8s.io/v1",
    kind="Role",
    plural="roles",
    minimal={"metadata": {"name": "a"}},
    minimal_stored={"rules": None},
    full={"metadata": {"name": "a:B_c"}, "rules": RULES},
    full_stored={"rules": RULES},
    invalid=[
        Invalid(
            "a name with a slash", {"metadata.name": "a/b"}, [invalid("metadata.name", '"a/b"', "may not contain '/'")]
        ),
        Invalid(
            "a name with a percent sign",
            {"metadata.name": "a%b"},
            [invalid("metadata.name", '"a%b"', "may not contain '%'")],
        ),
        Invalid("no verbs", {"rules.0.verbs": []}, [required("rules[0].verbs", VERBS)]),
        Invalid("no groups", {"rules.1.apiGroups": GONE}, [required("rules[1].apiGroups", GROUPS)]),
        Invalid("no resources", {"rules.0.resources": []}, [required("rules[0].resources", RESOURCES)]),
        Invalid(
            "an empty rule",
            {"rules.0": {"verbs": []}},
            [
                required("rules[0].verbs", VERBS),
                required("rules[0].apiGroups", GROUPS),
                required("rules[0].resources", RESOURCES),
            ],
        ),
        Invalid(
            "paths in a namespace",
            {"rules.0": URL},
            [invalid("rules[0].nonResourceURLs", '["/healthz"]', _NAMESPACED)],
            together=True,
        ),
        Invalid(
            "paths and resources",
            {"rules.0.nonResourceURLs": ["/a", "/b"]},
            [
                invalid("rules[0].nonResourceURLs", '["/a","/b"]', _NAMESPACED),
                invalid("rules[0].nonResourceURLs", '["/a","/b"]', _BOTH),
            ],
            together=True,
        ),
        Invalid(
            "paths and names, and nothing to do with them",
            {"rules.0": {"verbs": [], "nonResourceURLs": ["/a"], "resourceNames": ["x"]}},
            [
                required("rules[0].verbs", VERBS),
                invalid("rules[0].nonResourceURLs", '["/a"]', _NAMESPACED),
                invalid("rules[0].nonResourceURLs", '["/a"]', _BOTH),
            ],
            together=True,
        ),
    ],
    updates=[
        Update("other rules", {"rules": RULES[:1]}, allowed=True),
        Update("no rules", {"rules": GONE}, allowed=True),
        Update("rules that are wrong", {"rules.0.verbs": []}, [required("rules[0].verbs", VERBS)]),
    ],
    rows=[Row("no printer of its own", {}, ["a", "2026-11-21T11:00:00Z"])],
)
