"""VolumeAttributesClass (storage.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import GONE, SUBDOMAIN, Cause, Invalid, KindCases, Row, Update, forbidden, invalid, required
from kind_texts import QUALIFIED

_FULL = {"driverName": "Disk.ex.io/Fast", "parameters": {"iops": "4000", "throughput": "120"}}
_NEEDED = "must contain at least one key/value pair"


def _too_long(limit: int) -> Cause:
    return Cause("FieldValueTooLong", "parameters", f"Too long: may not be more than {limit} bytes")


CASES = KindCases(
    api_version="storage.k8s.io/v1",
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    namespaced=False,
    minimal={"metadata": {"name": "gold"}, "driverName": "disk.ex.io", "parameters": {"iops": "4000"}},
    minimal_stored={"driverName": "disk.ex.io", "parameters": {"iops": "4000"}},
    full={"metadata": {"name": "gold"}, **_FULL},
    full_stored=_FULL,
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "G"}, [invalid("metadata.name", '"G"', SUBDOMAIN)]),
        Invalid("no driver", {"driverName": ""}, [required("driverName")]),
        Invalid(
            "a driver with a space",
            {"driverName": "My disk"},
            [invalid("driverName", '"my disk"', f"name part {QUALIFIED}")],
        ),
        Invalid("no parameters", {"parameters": GONE}, [required("parameters", _NEEDED)]),
        Invalid(
            "a parameter without a name",
            {"parameters": {"": "x"}},
            [invalid("parameters", '""', "field can not be empty.")],
        ),
        Invalid("too many parameters", {"parameters": {f"p{i}": "" for i in range(513)}}, [_too_long(512)]),
        Invalid(
            "parameters that are too long together",
            {"parameters": {"a": "x" * 200_000, "b": "y" * 70_000}},
            [_too_long(262144)],
            together=True,
        ),
        Invalid(
            "parameters of which one has no name, and that are too long together",
            {"parameters": {"": "x" * 200_000, "b": "y" * 70_000}},
            [invalid("parameters", '""', "field can not be empty."), _too_long(262144)],
            together=True,
        ),
        Invalid(
            "neither driver nor parameters",
            {"driverName": GONE, "parameters": {}},
            [required("driverName"), required("parameters", _NEEDED)],
            together=True,
        ),
    ],
    updates=[
        Update(
            "another driver", {"driverName": "other"}, [forbidden("driverName", "updates to driverName are forbidden.")]
        ),
        Update(
            "other parameters",
            {"parameters.iops": "1"},
            [forbidden("parameters", "updates to parameters are forbidden.")],
        ),
        Update(
            "no parameters",
            {"parameters": GONE},
            [forbidden("parameters", "updates to parameters are forbidden."), required("parameters", _NEEDED)],
        ),
        Update("labels", {"metadata.labels": {"a": "b"}}, allowed=True),
    ],
    rows=[Row("a class", {}, ["gold", "disk.ex.io", "60m"])],
)
