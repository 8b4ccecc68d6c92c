"""CSIDriver (storage.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import GONE, SUBDOMAIN, Invalid, KindCases, Row, Update, duplicate, invalid, not_supported
from kind_texts import IMMUTABLE

_DEFAULTS = {
    "attachRequired": True,
    "podInfoOnMount": False,
    "storageCapacity": False,
    "fsGroupPolicy": "ReadWriteOnceWithFSType",
    "requiresRepublish": False,
    "seLinuxMount": False,
    "volumeLifecycleModes": ["Persistent"],
}
_FULL = {
    "attachRequired": False,
    "podInfoOnMount": True,
    "storageCapacity": True,
    "fsGroupPolicy": "File",
    "requiresRepublish": True,
    "seLinuxMount": True,
    "volumeLifecycleModes": ["Persistent", "Ephemeral"],
    "tokenRequests": [{"audience": "a", "expirationSeconds": 600}, {"audience": ""}],
    "nodeAllocatableUpdatePeriodSeconds": 10,
}
_SHORT, _LONG = "may not specify a duration less than 10 minutes", "may not specify a duration larger than 2^32 seconds"

CASES = KindCases(
    api_version="storage.k8s.io/v1",
    kind="CSIDriver",
    plural="csidrivers",
    namespaced=False,
    minimal={"metadata": {"name": "disk.ex.io"}, "spec": {}},
    minimal_stored={"spec": _DEFAULTS},
    full={"metadata": {"name": "disk.ex.io"}, "spec": _FULL},
    full_stored={"spec": _FULL},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "Disk"}, [invalid("metadata.name", '"Disk"', SUBDOMAIN)]),
        Invalid(
            "an unknown policy of groups",
            {"spec.fsGroupPolicy": "Always"},
            [not_supported("spec.fsGroupPolicy", '"Always"', "File", "None", "ReadWriteOnceWithFSType")],
        ),
        Invalid(
            "an unknown mode",
            {"spec.volumeLifecycleModes": ["Persistent", "Other"]},
            [not_supported("spec.volumeLifecycleModes", '"Other"', "Persistent", "Ephemeral")],
        ),
        Invalid(
            "a period of seconds",
            {"spec.nodeAllocatableUpdatePeriodSeconds": 9},
            [invalid("spec.nodeAllocatableUpdatePeriodSeconds", "9", "must be greater than or equal to 10 seconds")],
        ),
        Invalid(
            "tokens for minutes",
            {"spec.tokenRequests.0.expirationSeconds": 599},
            [invalid("spec.tokenRequests[0].expirationSeconds", "599", _SHORT)],
        ),
        Invalid(
            "tokens for ages",
            {"spec.tokenRequests.0.expirationSeconds": 2**32 + 1},
            [invalid("spec.tokenRequests[0].expirationSeconds", "4294967297", _LONG)],
        ),
        Invalid(
            "an audience twice",
            {"spec.tokenRequests.1.audience": "a"},
            [duplicate("spec.tokenRequests[1].audience", '"a"')],
            together=True,
        ),
        Invalid(
            "two requests without audience",
            {"spec.tokenRequests": [{}, {"audience": ""}]},
            [duplicate("spec.tokenRequests[1].audience", '""')],
            together=True,
        ),
        Invalid(
            "an audience twice, of which the second is wrong besides",
            {"spec.tokenRequests.1": {"audience": "a", "expirationSeconds": 1}},
            [duplicate("spec.tokenRequests[1].audience", '"a"')],
            together=True,
        ),
        Invalid(
            "much at once",
            {"spec.fsGroupPolicy": "", "spec.tokenRequests.0.expirationSeconds": 0},
            [
                not_supported("spec.fsGroupPolicy", '""', "File", "None", "ReadWriteOnceWithFSType"),
                invalid("spec.tokenRequests[0].expirationSeconds", "0", _SHORT),
            ],
        ),
    ],
    updates=[
        Update("attaching", {"spec.attachRequired": True}, [invalid("spec.attachedRequired", "true", IMMUTABLE)]),
        Update(
            "modes",
            {"spec.volumeLifecycleModes": ["Ephemeral"]},
            [invalid("spec.volumeLifecycleModes", '["Ephemeral"]', IMMUTABLE)],
        ),
        Update("tokens", {"spec.tokenRequests": GONE}, allowed=True),
        Update("the policy of groups", {"spec.fsGroupPolicy": "None"}, allowed=True),
        Update("capacity", {"spec.storageCapacity": False}, allowed=True),
    ],
    rows=[
        Row("defaults", {}, ["disk.ex.io", True, False, False, "<unset>", False, "Persistent", "60m"]),
        Row("all", {}, ["disk.ex.io", False, True, True, "a,", True, "Persistent,Ephemeral", "60m"], on="full"),
        Row(
            "no modes",
            {"spec.volumeLifecycleModes": GONE},
            ["disk.ex.io", True, False, False, "<unset>", False, "<none>", "60m"],
        ),
        Row(
            "a token for the API server",
            {"spec.tokenRequests": [{"audience": ""}]},
            ["disk.ex.io", True, False, False, "", False, "Persistent", "60m"],
        ),
    ],
)
