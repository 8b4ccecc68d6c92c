"""PodDisruptionBudget (policy/v1)."""

from __future__ import annotations

from kind_harness import GONE, Invalid, KindCases, Row, Update, invalid, not_supported, required

_PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', or '93%', regex used for "
    "validation is '[0-9]+%')"
)
_STATUS = {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}
_BOTH = "minAvailable and maxUnavailable cannot be both set"

CASES = KindCases(
    api_version="policy/v1",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    generation=True,
    minimal={"metadata": {"name": "a"}},
    minimal_stored={"spec": {}, "status": _STATUS},
    full={
        "metadata": {"name": "a"},
        "spec": {
            "minAvailable": "50%",
            "selector": {"matchLabels": {"app": "web"}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    },
    full_stored={
        "spec": {
            "minAvailable": "50%",
            "selector": {"matchLabels": {"app": "web"}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
        "status": _STATUS,
    },
    invalid=[
        Invalid(
            "both bounds", {"spec.maxUnavailable": 1},
            [invalid("spec", '{"MinAvailable":"50%","Selector":{"matchLabels":{"app":"web"}},"MaxUnavailable":1,'
                             '"UnhealthyPodEvictionPolicy":"AlwaysAllow"}', _BOTH)],
            together=True,
        ),
        Invalid(
            "both bounds and nothing else", {"spec": {"minAvailable": 1, "maxUnavailable": "1%"}},
            [invalid("spec", '{"MinAvailable":1,"Selector":null,"MaxUnavailable":"1%",'
                             '"UnhealthyPodEvictionPolicy":null}', _BOTH)],
            on="minimal", together=True,
        ),
        Invalid(
            "both bounds, and neither is one", {"spec.minAvailable": -1, "spec.maxUnavailable": "101%"},
            [
                invalid("spec", '{"MinAvailable":-1,"Selector":{"matchLabels":{"app":"web"}},"MaxUnavailable":"101%",'
                                '"UnhealthyPodEvictionPolicy":"AlwaysAllow"}', _BOTH),
                invalid("spec.minAvailable", "-1", "must be greater than or equal to 0"),
                invalid("spec.maxUnavailable", '"101%"', "must not be greater than 100%"),
            ],
            together=True,
        ),
        Invalid("fewer than none", {"spec.minAvailable": -1},
                [invalid("spec.minAvailable", "-1", "must be greater than or equal to 0")]),
        Invalid("no percentage", {"spec.minAvailable": "half"}, [invalid("spec.minAvailable", '"half"', _PERCENT)]),
        Invalid("more than all", {"spec": {"maxUnavailable": "200%"}},
                [invalid("spec.maxUnavailable", '"200%"', "must not be greater than 100%")], on="minimal"),
        Invalid("an unknown policy", {"spec.unhealthyPodEvictionPolicy": "Never"},
                [not_supported("spec.unhealthyPodEvictionPolicy", '"Never"', "AlwaysAllow", "IfHealthyBudget")]),
        Invalid(
            "a selector that is none", {"spec.selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
            [invalid("spec.selector.matchExpressions[0].operator", '"Like"', "not a valid selector operator")],
        ),
    ],
    updates=[
        Update("another bound", {"spec.minAvailable": GONE, "spec.maxUnavailable": 1}, allowed=True),
        Update("other pods", {"spec.selector.matchLabels.app": "api"}, allowed=True),
        Update("both bounds", {"spec.maxUnavailable": 1, "spec.selector": GONE},
               [invalid("spec", '{"MinAvailable":"50%","Selector":null,"MaxUnavailable":1,'
                                '"UnhealthyPodEvictionPolicy":"AlwaysAllow"}', _BOTH)]),
        Update(
            "a condition that says nothing", {"status.conditions": [{"type": "a b", "status": "Maybe"}]},
            [
                invalid("status.conditions[0].type", '"a b"',
                        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
                        "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
                        "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"),
                not_supported("status.conditions[0].status", '"Maybe"', "False", "True", "Unknown"),
                required("status.conditions[0].lastTransitionTime", "must be set"),
                required("status.conditions[0].reason", "must be set"),
            ],
            through="status",
        ),
        Update(
            "counters below zero", {"status.disruptionsAllowed": -1, "status.expectedPods": -2},
            [
                invalid("status.disruptionsAllowed", "-1", "must be greater than or equal to 0"),
                invalid("status.expectedPods", "-2", "must be greater than or equal to 0"),
            ],
            through="status",
        ),
    ],
    rows=[
        Row("neither bound", {}, ["a", "N/A", "N/A", 0, "60m"]),
        Row("so many left", {"status.disruptionsAllowed": 2}, ["a", "50%", "N/A", 2, "60m"], on="full"),
        Row("so many away", {"spec.maxUnavailable": 1}, ["a", "N/A", "1", 0, "60m"]),
    ],
)  # fmt: skip
