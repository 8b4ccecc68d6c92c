"""PriorityClass (scheduling.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import SUBDOMAIN, Invalid, KindCases, Row, Update, forbidden, invalid, not_supported

_SYSTEM = "priority class names with 'system-' prefix are reserved for system use only. error: "

CASES = KindCases(
    api_version="scheduling.k8s.io/v1",
    kind="PriorityClass",
    plural="priorityclasses",
    namespaced=False,
    generation=True,
    minimal={"metadata": {"name": "a"}},
    minimal_stored={"value": 0, "preemptionPolicy": "PreemptLowerPriority"},
    full={
        "metadata": {"name": "a"},
        "value": -5,
        "globalDefault": True,
        "description": "Below the rest.",
        "preemptionPolicy": "Never",
    },
    full_stored={
        "value": -5,
        "globalDefault": True,
        "description": "Below the rest.",
        "preemptionPolicy": "Never",
    },
    invalid=[
        Invalid("above what is the user's", {"value": 1_000_000_001},
                [forbidden("value", "maximum allowed value of a user defined priority is 1000000000")]),
        Invalid("an unknown policy", {"preemptionPolicy": "Always"},
                [not_supported("preemptionPolicy", '"Always"', "PreemptLowerPriority", "Never")]),
        Invalid("a name with capitals", {"metadata.name": "High"}, [invalid("metadata.name", '"High"', SUBDOMAIN)]),
        Invalid("a name of the system's", {"metadata.name": "system-high"},
                [forbidden("metadata.name", f"{_SYSTEM}system-high is not a known system priority class")]),
        Invalid("a class of the system's with a value of its own", {"metadata.name": "system-node-critical"},
                [forbidden("metadata.name",
                           f"{_SYSTEM}value of system-node-critical PriorityClass must be 2000001000")],
                together=True),
        Invalid("a class of the system's for all",
                {"metadata.name": "system-cluster-critical", "value": 2_000_000_000},
                [forbidden("metadata.name",
                           f"{_SYSTEM}globalDefault of system-cluster-critical PriorityClass must be false")],
                together=True),
        Invalid("a class of the system's and an unknown policy",
                {"metadata.name": "system-x", "preemptionPolicy": "Always", "value": 2_000_000_000},
                [
                    forbidden("metadata.name", f"{_SYSTEM}system-x is not a known system priority class"),
                    not_supported("preemptionPolicy", '"Always"', "PreemptLowerPriority", "Never"),
                ],
                together=True),
        Invalid("a namespace", {"metadata.name": "a_b"}, [invalid("metadata.name", '"a_b"', SUBDOMAIN)]),
    ],
    updates=[
        Update("another description", {"description": "Other."}, allowed=True),
        Update("not for all any more", {"globalDefault": False}, allowed=True),
        Update(
            "another value and policy", {"value": 7, "preemptionPolicy": "PreemptLowerPriority"},
            [
                forbidden("value", "may not be changed in an update."),
                invalid("preemptionPolicy", '"PreemptLowerPriority"', "field is immutable"),
            ],
        ),
    ],
    rows=[
        Row("usual", {}, ["a", 0, False, "60m", "PreemptLowerPriority"]),
        Row("for all", {}, ["a", -5, True, "60m", "Never"], on="full"),
    ],
)  # fmt: skip
