"""CSIStorageCapacity (storage.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import GONE, SUBDOMAIN, Invalid, KindCases, Row, Update, Warned, forbidden, invalid, required
from kind_texts import IMMUTABLE, LABEL_VALUE, QUALIFIED

_FULL = {
    "storageClassName": "fast",
    "nodeTopology": {
        "matchLabels": {"zone": "a"},
        "matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}],
    },
    "capacity": "10Gi",
    "maximumVolumeSize": "1Gi",
}
_EXPRESSION = "nodeTopology.matchExpressions[0]"
_OLD = "failure-domain.beta.kubernetes.io"

CASES = KindCases(
    api_version="storage.k8s.io/v1",
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    minimal={"metadata": {"name": "c"}, "storageClassName": "fast"},
    minimal_stored={"storageClassName": "fast"},
    full={"metadata": {"name": "c"}, **_FULL},
    full_stored=_FULL,
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "C"}, [invalid("metadata.name", '"C"', SUBDOMAIN)]),
        Invalid("no class", {"storageClassName": ""}, [invalid("storageClassName", '""', SUBDOMAIN)]),
        Invalid(
            "a class with capitals", {"storageClassName": "Fast"}, [invalid("storageClassName", '"Fast"', SUBDOMAIN)]
        ),
        Invalid(
            "less than nothing", {"capacity": "-1"}, [invalid("capacity", '"-1"', "must be greater than or equal to 0")]
        ),
        Invalid(
            "a topology of no label value",
            {"nodeTopology.matchLabels": {"zone": "a b"}},
            [invalid("nodeTopology.matchLabels", '"a b"', LABEL_VALUE)],
        ),
        Invalid(
            "an unknown operator",
            {"nodeTopology.matchExpressions.0.operator": "Near"},
            [invalid(f"{_EXPRESSION}.operator", '"Near"', "not a valid selector operator")],
        ),
        Invalid(
            "a key with a space",
            {"nodeTopology.matchExpressions.0.key": "a b"},
            [invalid(f"{_EXPRESSION}.key", '"a b"', f"name part {QUALIFIED}")],
        ),
        Invalid(
            "one of no values",
            {"nodeTopology.matchExpressions.0.values": []},
            [required(f"{_EXPRESSION}.values", "must be specified when `operator` is 'In' or 'NotIn'")],
            together=True,
        ),
        Invalid(
            "values of a key that only has to be there",
            {"nodeTopology.matchExpressions.0.operator": "Exists"},
            [forbidden(f"{_EXPRESSION}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")],
            together=True,
        ),
        Invalid(
            "none of no values, in no class",
            {"nodeTopology.matchExpressions.0": {"key": "disk", "operator": "NotIn"}, "storageClassName": "-"},
            [
                required(f"{_EXPRESSION}.values", "must be specified when `operator` is 'In' or 'NotIn'"),
                invalid("storageClassName", '"-"', SUBDOMAIN),
            ],
            together=True,
        ),
    ],
    updates=[
        Update("another class", {"storageClassName": "slow"}, [invalid("storageClassName", '"slow"', IMMUTABLE)]),
        Update("no topology", {"nodeTopology": GONE}, [invalid("nodeTopology", "null", IMMUTABLE)]),
        Update("less room", {"capacity": "1Gi"}, allowed=True),
    ],
    rows=[Row("no printer of its own", {}, ["c", "2026-11-21T11:00:00Z"])],
    warned=[
        Warned(
            "labels of old",
            {
                "nodeTopology": {
                    "matchLabels": {f"{_OLD}/zone": "a"},
                    "matchExpressions": [{"key": f"{_OLD}/region", "operator": "Exists"}],
                }
            },
            [
                f"nodeTopology.matchExpressions[0].key: {_OLD}/region is deprecated since v1.17; "
                'use "topology.kubernetes.io/region" instead',
                f"nodeTopology.matchLabels.{_OLD}/zone: deprecated since v1.17; "
                'use "topology.kubernetes.io/zone" instead',
            ],
        )
    ],
)
