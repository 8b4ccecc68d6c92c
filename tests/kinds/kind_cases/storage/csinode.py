"""CSINode (storage.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import SUBDOMAIN, Cause, Invalid, KindCases, Row, Update, duplicate, invalid, required
from kind_texts import IMMUTABLE, QUALIFIED

_DRIVER = {"name": "disk.ex.io", "nodeID": "n-1", "topologyKeys": ["ex.io/zone"], "allocatable": {"count": 8}}
_OTHER = {"name": "files.ex.io", "nodeID": "n-1", "topologyKeys": None}

CASES = KindCases(
    api_version="storage.k8s.io/v1",
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    minimal={"metadata": {"name": "n"}, "spec": {"drivers": []}},
    minimal_stored={"spec": {"drivers": None}},
    full={"metadata": {"name": "n"}, "spec": {"drivers": [_DRIVER, _OTHER]}},
    full_stored={"spec": {"drivers": [_DRIVER, _OTHER]}},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "N"}, [invalid("metadata.name", '"N"', SUBDOMAIN)]),
        Invalid(
            "a driver without name",
            {"spec.drivers.0.name": ""},
            [required("spec.drivers[0].name")],
        ),
        Invalid(
            "a driver with a long name",
            {"spec.drivers.0.name": "d" * 64},
            [Cause("FieldValueTooLong", "spec.drivers[0].name", "Too long: may not be more than 63 bytes")],
        ),
        Invalid(
            "a driver with a space",
            {"spec.drivers.0.name": "My Disk"},
            [invalid("spec.drivers[0].name", '"My Disk"', SUBDOMAIN)],
        ),
        Invalid("a driver without node id", {"spec.drivers.0.nodeID": ""}, [required("spec.drivers[0].nodeID")]),
        Invalid(
            "a long node id",
            {"spec.drivers.0.nodeID": "i" * 257},
            [invalid("spec.drivers[0].nodeID", f'"{"i" * 257}"', "must be 256 characters or less")],
        ),
        Invalid(
            "fewer volumes than none",
            {"spec.drivers.0.allocatable.count": -1},
            [invalid("spec.drivers[0].allocatable.count", "-1", "must be greater than or equal to 0")],
        ),
        Invalid(
            "a driver twice",
            {"spec.drivers.1.name": "disk.ex.io"},
            [duplicate("spec.drivers[1].name", '"disk.ex.io"')],
            together=True,
        ),
        Invalid(
            "a topology key twice",
            {"spec.drivers.0.topologyKeys": ["zone", "zone"]},
            [duplicate("spec.drivers[0]", '"zone"')],
            together=True,
        ),
        Invalid(
            "two empty topology keys",
            {"spec.drivers.0.topologyKeys": ["", ""]},
            [
                required("spec.drivers[0]"),
                invalid("spec.drivers[0]", '""', "name part must be non-empty"),
                invalid("spec.drivers[0]", '""', f"name part {QUALIFIED}"),
                required("spec.drivers[0]"),
                duplicate("spec.drivers[0]", '""'),
                invalid("spec.drivers[0]", '""', "name part must be non-empty"),
                invalid("spec.drivers[0]", '""', f"name part {QUALIFIED}"),
            ],
            together=True,
        ),
    ],
    updates=[
        Update(
            "another node id",
            {"spec.drivers.0.nodeID": "n-2"},
            [
                invalid(
                    "spec.drivers",
                    '{"Name":"disk.ex.io","NodeID":"n-2","TopologyKeys":["ex.io/zone"],"Allocatable":null}',
                    IMMUTABLE,
                )
            ],
        ),
        Update("how many volumes fit", {"spec.drivers.0.allocatable.count": 9}, allowed=True),
        Update("a driver less", {"spec.drivers": [_OTHER]}, allowed=True),
        Update("a driver more", {"spec.drivers.+": {"name": "x.io", "nodeID": "a", "topologyKeys": []}}, allowed=True),
    ],
    rows=[Row("no drivers", {}, ["n", 0, "60m"]), Row("two drivers", {}, ["n", 2, "60m"], on="full")],
)
