"""PersistentVolumeClaim (v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import (
    GONE,
    SUBDOMAIN,
    Cause,
    Invalid,
    KindCases,
    Row,
    Update,
    Warned,
    forbidden,
    invalid,
    not_supported,
    required,
)

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_CLASS = "volume.beta.kubernetes.io/storage-class"
_CORE = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
_SNAPSHOT = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
_GIB: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
_BOUND = {"status.phase": "Bound", "status.capacity": {"storage": "1Gi"}}
_SIZE = "spec.resources.requests.storage"
_ATTRIBUTES = "spec.volumeAttributesClassName"
_SPEC = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"
_MODE_DIFF = """@@ -1,6 +1,6 @@
 {
  "AccessModes": [
-  "ReadWriteOnce"
+  "ReadWriteMany"
  ],
  "Selector": null,
  "Resources": {
"""
_SIZE_DIFF = """@@ -6,7 +6,7 @@
  "Resources": {
   "Limits": null,
   "Requests": {
-   "storage": "1Gi"
+   "storage": "2Gi"
   }
  },
  "VolumeName": "",
"""
_SHRUNK_DIFF = """@@ -6,7 +6,7 @@
  "Resources": {
   "Limits": null,
   "Requests": {
-   "storage": "1Gi"
+   "storage": "1Mi"
   }
  },
  "VolumeName": "",
"""
_FULL: dict[str, Any] = {
    "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
    "resources": {"requests": {"storage": "1Gi"}, "limits": {"storage": "2Gi"}},
    "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]},
    "storageClassName": "fast",
    "volumeMode": "Block",
    "volumeName": "v",
    "volumeAttributesClassName": "gold",
    "dataSource": _SNAPSHOT,
}


def _twice(*causes: Cause) -> list[Cause]:
    """Upstream looks at the whole claim twice on an update."""
    return [*causes, *causes]


CASES = KindCases(
    api_version="v1",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    minimal={"metadata": {"name": "a"}, "spec": _GIB},
    minimal_stored={"spec": {**_GIB, "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}},
    full={"metadata": {"name": "a"}, "spec": _FULL},
    full_stored={"spec": {**_FULL, "dataSourceRef": _SNAPSHOT}, "status": {"phase": "Pending"}},
    invalid=[
        Invalid(
            "nothing at all",
            {"spec": {}},
            [
                required("spec.accessModes", "at least 1 access mode is required"),
                required("spec.resources[storage]"),
            ],
        ),
        Invalid(
            "an access mode that nobody knows",
            {"spec.accessModes": ["ReadMany"]},
            [not_supported("spec.accessModes", '"ReadMany"', *_MODES)],
        ),
        Invalid(
            "one pod and others",
            {"spec.accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]},
            [forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes")],
            together=True,
        ),
        Invalid(
            "no bytes",
            {_SIZE: "0"},
            [invalid("spec.resources[storage]", '"0"', "must be greater than zero")],
        ),
        Invalid(
            "a selector with values it has no use for",
            {"spec.selector.matchExpressions": [{"key": "c", "operator": "Exists", "values": ["d"]}]},
            [
                forbidden(
                    "spec.selector.matchExpressions[0].values",
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                )
            ],
            together=True,
        ),
        Invalid(
            "classes and a mode that cannot be",
            {"spec.storageClassName": "A", "spec.volumeMode": "Raw", _ATTRIBUTES: "B"},
            [
                invalid("spec.storageClassName", '"A"', SUBDOMAIN),
                not_supported("spec.volumeMode", '"Raw"', "Block", "Filesystem"),
                invalid(_ATTRIBUTES, '"B"', SUBDOMAIN),
            ],
        ),
        Invalid(
            "a source of the core group that is no claim",
            {"spec.dataSource": GONE, "spec.dataSourceRef": {"kind": "Pod", "name": "p"}},
            [
                invalid("spec.dataSource", '"Pod"', _CORE),
                invalid("spec.dataSourceRef", '"Pod"', _CORE),
            ],
            together=True,
        ),
        Invalid(
            "a source without a name",
            {"spec.dataSource": {"kind": "PersistentVolumeClaim", "name": ""}},
            [required("spec.dataSource.name"), required("spec.dataSourceRef.name")],
        ),
        Invalid(
            "two sources",
            {"spec.dataSourceRef": {**_SNAPSHOT, "name": "t"}},
            [invalid("spec", '"spec.dataSource"', "must match dataSourceRef")],
            together=True,
        ),
    ],
    updates=[
        Update(
            "the access modes",
            {"spec.accessModes": ["ReadWriteMany"]},
            [
                forbidden("spec", _SPEC + _MODE_DIFF),
            ],
            on="minimal",
        ),
        Update("the size before it is bound", {_SIZE: "2Gi"}, [forbidden("spec", _SPEC + _SIZE_DIFF)], on="minimal"),
        Update(
            "less before it is bound",
            {_SIZE: "1Mi"},
            [
                forbidden("spec", _SPEC + _SHRUNK_DIFF),
            ],
            on="minimal",
        ),
        Update("the size of a bound one", {_SIZE: "2Gi"}, allowed=True, on="minimal", before=_BOUND),
        Update(
            "less than there is of a bound one",
            {_SIZE: "1Mi"},
            [forbidden(_SIZE, "field can not be less than status.capacity")],
            on="minimal",
            before=_BOUND,
        ),
        Update("attributes of a bound one", {_ATTRIBUTES: "silver"}, allowed=True, before=_BOUND),
        Update(
            "attributes taken away from a bound one",
            {_ATTRIBUTES: ""},
            [forbidden(_ATTRIBUTES, "update from non-nil value to an empty string is forbidden")],
            before=_BOUND,
        ),
        Update("a volume, once", {"spec.volumeName": "v"}, allowed=True, on="minimal"),
        Update("a class, once", {"spec.storageClassName": "fast"}, allowed=True, on="minimal"),
        Update(
            "a class in the annotation of old",
            {f"metadata.annotations[{_CLASS}]": "slow"},
            [invalid(f"metadata.annotations.{_CLASS}", '"slow"', "field is immutable")],
            on="minimal",
        ),
        Update(
            "no bytes",
            {_SIZE: "0"},
            [
                *_twice(invalid("spec.resources[storage]", '"0"', "must be greater than zero")),
                forbidden(_SIZE, "field can not be less than status.capacity"),
            ],
            on="minimal",
            before=_BOUND,
        ),
        Update(
            "a status with faults",
            {
                "status.capacity": {"storage": "-1"},
                "status.allocatedResources": {"cpu": "1"},
                "status.allocatedResourceStatuses": {"storage": "Growing"},
            },
            [
                invalid("status.capacity[storage]", "-1", "must be a valid resource quantity"),
                not_supported(
                    "status.allocatedResourceStatus",
                    '"storage"',
                    "ControllerResizeInProgress",
                    "ControllerResizeInfeasible",
                    "NodeResizeInProgress",
                    "NodeResizeInfeasible",
                    "NodeResizePending",
                ),
                not_supported("status.allocatedResources", '"cpu"', "storage"),
            ],
            through="status",
        ),
        Update("a status", {"status.phase": "Lost"}, allowed=True, through="status"),
    ],
    rows=[
        Row("new", {"spec.volumeMode": GONE}, ["a", "Pending", "", "", "", "", "<unset>", "60m", "<unset>"]),
        Row(
            "bound",
            {**_BOUND, "status.accessModes": ["ReadWriteMany", "ReadWriteOnce"]},
            [
                "a",
                "Bound",
                "v",
                "1Gi",
                "RWO,RWX",
                "fast",
                "gold",
                "60m",
                "Block",
            ],
            on="full",
        ),
        Row(
            "bound to a volume of no size, with a class of old, on its way out",
            {
                "spec.volumeName": "v",
                f"metadata.annotations[{_CLASS}]": "slow",
                "metadata.deletionTimestamp": "2026-11-21T11:00:00Z",
            },
            ["a", "Terminating", "v", "0", "", "slow", "<unset>", "60m", "Filesystem"],
        ),
    ],
    warned=[
        Warned("nothing", {}, []),
        Warned(
            "a class of old, and parts of bytes",
            {
                f"metadata.annotations[{_CLASS}]": "slow",
                _SIZE: "1500m",
                "spec.resources.limits": {"storage": "100m"},
            },
            [
                f'metadata.annotations[{_CLASS}]: deprecated since v1.8; use "storageClassName" attribute instead',
                'spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer',
                'spec.resources.limits[storage]: fractional byte value "100m" is invalid, must be an integer',
            ],
            on="minimal",
        ),
    ],
)
