"""ResourcePoolStatusRequest (resource.k8s.io/v1alpha3): alpha, and off by default upstream."""

from __future__ import annotations

from kind_harness import SUBDOMAIN, Invalid, KindCases, Row, Update, invalid, required
from kind_texts import IMMUTABLE

_FULL = {"driver": "d.io", "poolName": "n/a", "limit": 10}
_POOLS = [
    {
        "driver": "d.io",
        "poolName": "a",
        "generation": 1,
        "totalDevices": 4,
        "availableDevices": 1,
        "allocatedDevices": 3,
    },
    {"driver": "d.io", "poolName": "b", "generation": 1, "validationError": "no", "unavailableDevices": 2},
]

CASES = KindCases(
    api_version="resource.k8s.io/v1alpha3",
    kind="ResourcePoolStatusRequest",
    plural="resourcepoolstatusrequests",
    namespaced=False,
    minimal={"metadata": {"name": "a"}, "spec": {"driver": "d.io"}},
    minimal_stored={"spec": {"driver": "d.io", "limit": 100}, "status": {}},
    full={"metadata": {"name": "a"}, "spec": _FULL},
    full_stored={"spec": _FULL, "status": {}},
    invalid=[
        Invalid("no driver", {"spec.driver": ""}, [required("spec.driver")]),
        Invalid("a driver with a space", {"spec.driver": "a b"}, [invalid("spec.driver", '"a b"', SUBDOMAIN)]),
        Invalid("no pool", {"spec.poolName": ""}, [required("spec.poolName")]),
        Invalid(
            "too many pools",
            {"spec.limit": 1001},
            [invalid("spec.limit", "1001", "must be between 1 and 1000, inclusive")],
        ),
    ],
    few_rules="alpha",
    updates=[
        Update(
            "another driver",
            {"spec.driver": "e.io"},
            [invalid("spec", '{"Driver":"e.io","PoolName":"n/a","Limit":10}', IMMUTABLE)],
        )
    ],
    rows=[
        Row("asked", {}, ["a", "d.io", "0", "0", "0", "0", "0", 0, "Pending", "<none>"]),
        Row(
            "answered",
            {
                "status": {
                    "poolCount": 2,
                    "pools": _POOLS,
                    "conditions": [
                        {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-21T11:30:00Z"}
                    ],
                }
            },
            ["a", "d.io", "4", "1", "3", "2", "1", 2, "Complete", "30m"],
        ),
    ],
)
