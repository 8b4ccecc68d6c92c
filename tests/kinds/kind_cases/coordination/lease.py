"""Lease (coordination.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import SUBDOMAIN, Invalid, KindCases, Row, Update, invalid

CASES = KindCases(
    api_version="coordination.k8s.io/v1",
    kind="Lease",
    plural="leases",
    minimal={"metadata": {"name": "a"}},
    minimal_stored={"spec": {}},
    full={
        "metadata": {"name": "a"},
        "spec": {
            "acquireTime": "2024-01-02T03:04:05.678901Z",
            "holderIdentity": "h",
            "leaseDurationSeconds": 9,
            "leaseTransitions": 2,
            "renewTime": "2024-01-02T03:04:05.000000Z",
        },
    },
    full_stored={
        "spec": {
            "acquireTime": "2024-01-02T03:04:05.678901Z",
            "holderIdentity": "h",
            "leaseDurationSeconds": 9,
            "leaseTransitions": 2,
            "renewTime": "2024-01-02T03:04:05.000000Z",
        },
    },
    few_rules="its rules are about one number each; strategies are off",
    invalid=[
        Invalid("no time", {"spec.leaseDurationSeconds": 0},
                [invalid("spec.leaseDurationSeconds", "0", "must be greater than 0")]),
        Invalid("less than no time, and fewer than no holders",
                {"spec.leaseDurationSeconds": -1, "spec.leaseTransitions": -1},
                [
                    invalid("spec.leaseDurationSeconds", "-1", "must be greater than 0"),
                    invalid("spec.leaseTransitions", "-1", "must be greater than or equal to 0"),
                ]),
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
        Invalid(
            "a time without its millionths", {"spec.renewTime": "2024-01-02T03:04:05Z"}, code=400,
            message='Lease in version "v1" cannot be handled as a Lease: parsing time "2024-01-02T03:04:05Z" as '
                    '"2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000"',
        ),
    ],
    updates=[
        Update("another holder", {"spec.holderIdentity": "i", "spec.leaseTransitions": 0}, allowed=True),
        Update("no time", {"spec.leaseDurationSeconds": 0},
               [invalid("spec.leaseDurationSeconds", "0", "must be greater than 0")]),
    ],
    rows=[
        Row("nobody's", {}, ["a", "", "60m"]),
        Row("somebody's", {}, ["a", "h", "60m"], on="full"),
    ],
)  # fmt: skip
