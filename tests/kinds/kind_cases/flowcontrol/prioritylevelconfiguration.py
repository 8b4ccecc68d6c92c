"""PriorityLevelConfiguration (flowcontrol.apiserver.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import GONE, SUBDOMAIN, Invalid, KindCases, Row, Update, forbidden, invalid, not_supported, required

_QUEUING = {"queues": 128, "handSize": 6, "queueLengthLimit": 50}
_FULL = {
    "type": "Limited",
    "limited": {
        "nominalConcurrencyShares": 0,
        "lendablePercent": 90,
        "borrowingLimitPercent": 50,
        "limitResponse": {"type": "Queue", "queuing": _QUEUING},
    },
}
_L = "spec.limited"
_Q = "spec.limited.limitResponse.queuing"
_EXEMPT = "must be 'Exempt' if and only if `name` is 'exempt'"
_PERCENT = "must be between 0 and 100, inclusive"

CASES = KindCases(
    api_version="flowcontrol.apiserver.k8s.io/v1",
    kind="PriorityLevelConfiguration",
    plural="prioritylevelconfigurations",
    namespaced=False,
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}},
    minimal_stored={
        "spec": {
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": 30,
                "lendablePercent": 0,
                "limitResponse": {"type": "Reject"},
            },
        },
        "status": {},
    },
    full={"metadata": {"name": "a"}, "spec": _FULL},
    full_stored={"spec": _FULL, "status": {}},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
        Invalid("of no type", {"spec": {"type": "Free"}}, [not_supported("spec.type", '"Free"', "Exempt", "Limited")]),
        Invalid(
            "no answer beyond its limit",
            {"spec.limited.limitResponse": GONE},
            [not_supported(f"{_L}.limitResponse.type", '""', "Queue", "Reject")],
        ),
        Invalid(
            "shares below zero",
            {"spec.limited.nominalConcurrencyShares": -1},
            [invalid(f"{_L}.nominalConcurrencyShares", "-1", "must be a non-negative integer")],
        ),
        Invalid(
            "percents that are none",
            {"spec.limited.lendablePercent": 101, "spec.limited.borrowingLimitPercent": -1},
            [
                invalid(f"{_L}.lendablePercent", "101", _PERCENT),
                invalid(f"{_L}.borrowingLimitPercent", "-1", "if specified, must be a non-negative integer"),
            ],
        ),
        Invalid(
            "queues below zero",
            {"spec.limited.limitResponse.queuing": {"queues": -1, "handSize": -1, "queueLengthLimit": -1}},
            [
                invalid(f"{_Q}.queueLengthLimit", "-1", "must be positive"),
                invalid(f"{_Q}.queues", "-1", "must be positive"),
                invalid(f"{_Q}.handSize", "-1", "must be positive"),
            ],
        ),
        Invalid(
            "too many queues",
            {"spec.limited.limitResponse.queuing.queues": 10_000_001, "spec.limited.limitResponse.queuing.handSize": 1},
            [invalid(f"{_Q}.queues", "10000001", "must not be greater than 10000000")],
        ),
        Invalid(
            "a hand of more queues than there are",
            {"spec.limited.limitResponse.queuing.handSize": 129},
            [invalid(f"{_Q}.handSize", "129", "should not be greater than queues (128)")],
            together=True,
        ),
        Invalid(
            "a hand that no hash can deal",
            {"spec.limited.limitResponse.queuing.handSize": 9},
            [
                invalid(
                    f"{_Q}.handSize",
                    "9",
                    "required entropy bits of deckSize 128 and handSize 9 should not be greater than 60",
                )
            ],
            together=True,
        ),
        Invalid(
            "queues of who refuses",
            {"spec.limited.limitResponse.type": "Reject"},
            [forbidden(_Q, "must be nil if limited.limitResponse.type is not Limited")],
            together=True,
        ),
        Invalid(
            "no queues of who queues",
            {"spec.limited.limitResponse.queuing": GONE},
            [required(_Q, "must not be empty if limited.limitResponse.type is Limited")],
            together=True,
        ),
        Invalid(
            "limited without limits, and exempt",
            {"spec": {"type": "Limited", "exempt": {}}},
            [
                forbidden("spec.exempt", "must be nil if the type is Limited"),
                required(_L, "must not be empty when type is Limited"),
            ],
            together=True,
        ),
        Invalid(
            "exempt and limited",
            {"spec.type": "Exempt"},
            [
                invalid("spec.type", '"Exempt"', _EXEMPT),
                forbidden(_L, "must be nil if the type is not Limited"),
            ],
            together=True,
        ),
        Invalid(
            "exempt, with shares below zero",
            {"metadata.name": "exempt", "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": -1}}},
            [invalid("spec.exempt.nominalConcurrencyShares", "-1", "must be a non-negative integer")],
        ),
        Invalid(
            "exempt in name alone",
            {"metadata.name": "exempt"},
            [
                invalid("spec.type", '"Limited"', _EXEMPT),
                invalid(
                    "spec",
                    '{"Type":"Limited","Limited":{"NominalConcurrencyShares":0,"LimitResponse":{"Type":"Queue",'
                    '"Queuing":{"Queues":128,"HandSize":6,"QueueLengthLimit":50}},"LendablePercent":90,'
                    '"BorrowingLimitPercent":50},"Exempt":null}',
                    "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value",
                ),
            ],
            together=True,
        ),
        Invalid(
            "another catch-all",
            {"metadata.name": "catch-all"},
            [
                invalid(
                    "spec",
                    '{"Type":"Limited","Limited":{"NominalConcurrencyShares":30,"LimitResponse":{"Type":"Reject",'
                    '"Queuing":null},"LendablePercent":0,"BorrowingLimitPercent":null},"Exempt":null}',
                    "spec of 'catch-all' must equal the fixed value",
                )
            ],
            together=True,
            on="minimal",
        ),
    ],
    updates=[
        Update("more shares", {"spec.limited.nominalConcurrencyShares": 7}, allowed=True),
        Update("no type", {"spec.type": ""}, [not_supported("spec.type", '""', "Exempt", "Limited")]),
        Update(
            "a condition of no type",
            {"status.conditions": [{"type": "", "status": "True"}]},
            [required("status.conditions[0].type", "must not be empty")],
            through="status",
        ),
    ],
    rows=[
        Row("refuses", {}, ["a", "Limited", 30, "<none>", "<none>", "<none>", "60m"]),
        Row("queues", {}, ["a", "Limited", 0, 128, 6, 50, "60m"], on="full"),
        Row(
            "exempt",
            {"spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 5, "lendablePercent": 0}}},
            ["a", "Exempt", "<none>", "<none>", "<none>", "<none>", "60m"],
        ),
    ],
)
