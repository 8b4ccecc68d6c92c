"""PersistentVolume (v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import (
    ANY,
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

_NEW = {"phase": "Pending", "lastPhaseTransitionTime": ANY}
_TWO = "may not specify more than 1 volume type"
_AFFINITY: dict[str, Any] = {
    "required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}
}
_TERM = "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0]"
_CLASS = "volume.beta.kubernetes.io/storage-class"
_OPTIONS = "volume.beta.kubernetes.io/mount-options"
_GIB = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
_FULL: dict[str, Any] = {
    "capacity": {"storage": "1Gi"},
    "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
    "persistentVolumeReclaimPolicy": "Delete",
    "storageClassName": "fast",
    "volumeMode": "Block",
    "volumeAttributesClassName": "gold",
    "mountOptions": ["ro", "nosuid"],
    "claimRef": {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "c", "uid": "u"},
    "nodeAffinity": _AFFINITY,
    "csi": {
        "driver": "d.example.com",
        "volumeHandle": "h",
        "readOnly": True,
        "fsType": "ext4",
        "volumeAttributes": {"a": "b"},
        "controllerPublishSecretRef": {"name": "s", "namespace": "n"},
        "nodeStageSecretRef": {"name": "s", "namespace": "n"},
        "nodePublishSecretRef": {"name": "s", "namespace": "n"},
        "nodeExpandSecretRef": {"name": "s", "namespace": "n"},
    },
}
_DIFF = """spec.persistentvolumesource is immutable after creation
@@ -2,7 +2,7 @@
  "GCEPersistentDisk": null,
  "AWSElasticBlockStore": null,
  "HostPath": {
-  "Path": "/data",
+  "Path": "/other",
   "Type": ""
  },
  "Glusterfs": null,
"""


def _source(**sources: Any) -> dict[str, Any]:
    return {"spec": {**_GIB, **sources}}


def _twice(*causes: Cause) -> list[Cause]:
    """Upstream looks at the whole volume twice on an update."""
    return [*causes, *causes]


CASES = KindCases(
    api_version="v1",
    kind="PersistentVolume",
    plural="persistentvolumes",
    namespaced=False,
    minimal={"metadata": {"name": "a"}, "spec": {**_GIB, "hostPath": {"path": "/data"}}},
    minimal_stored={
        "spec": {
            **_GIB,
            "hostPath": {"path": "/data", "type": ""},
            "persistentVolumeReclaimPolicy": "Retain",
            "volumeMode": "Filesystem",
        },
        "status": _NEW,
    },
    full={"metadata": {"name": "a"}, "spec": _FULL},
    full_stored={"spec": _FULL, "status": _NEW},
    invalid=[
        Invalid(
            "nothing at all",
            {"spec": {}},
            [
                required("spec.accessModes"),
                required("spec.capacity"),
                not_supported("spec.capacity", "null", "storage"),
                required("spec", "must specify a volume type"),
            ],
            on="minimal",
        ),
        Invalid(
            "an access mode that nobody knows",
            {"spec.accessModes": ["ReadMany"]},
            [
                not_supported(
                    "spec.accessModes",
                    '"ReadMany"',
                    "ReadOnlyMany",
                    "ReadWriteMany",
                    "ReadWriteOnce",
                    "ReadWriteOncePod",
                )
            ],
        ),
        Invalid(
            "one pod and others",
            {"spec.accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]},
            [forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes")],
            together=True,
        ),
        Invalid(
            "capacity of something else",
            {"spec.capacity": {"cpu": "1"}},
            [not_supported("spec.capacity", '{"cpu":"1"}', "storage")],
        ),
        Invalid(
            "capacity of less than nothing",
            {"spec.capacity": {"storage": "-1"}},
            [
                invalid("spec.capacity[storage]", "-1", "must be a valid resource quantity"),
                invalid("spec.capacity[storage]", '"-1"', "must be greater than zero"),
            ],
        ),
        Invalid(
            "policies and modes that nobody knows",
            {"spec.persistentVolumeReclaimPolicy": "Keep", "spec.volumeMode": "Raw"},
            [
                not_supported("spec.persistentVolumeReclaimPolicy", '"Keep"', "Delete", "Recycle", "Retain"),
                not_supported("spec.volumeMode", '"Raw"', "Block", "Filesystem"),
            ],
        ),
        Invalid(
            "three sources",
            _source(hostPath={"path": "/a"}, nfs={"server": "s", "path": "/"}, cephfs={"monitors": ["m"]}),
            [forbidden("spec.nfs", _TWO), forbidden("spec.cephFS", _TWO)],
            together=True,
        ),
        Invalid(
            "a path that climbs, of an odd type",
            _source(hostPath={"path": "/a/../b", "type": "Disk"}),
            [
                invalid("spec.hostPath.path", '"/a/../b"', "must not contain '..'"),
                not_supported(
                    "spec.hostPath.type",
                    '"Disk"',
                    "",
                    "BlockDevice",
                    "CharDevice",
                    "Directory",
                    "DirectoryOrCreate",
                    "File",
                    "FileOrCreate",
                    "Socket",
                ),
            ],
        ),
        Invalid(
            "a share of nobody, at no path",
            _source(nfs={"server": "", "path": ""}),
            [
                required("spec.nfs.server"),
                required("spec.nfs.path"),
                invalid("spec.nfs.path", '""', "must be an absolute path"),
            ],
        ),
        Invalid(
            "a local path without a place",
            _source(local={"path": "/mnt"}),
            [required("spec.nodeAffinity", "Local volume requires node affinity")],
            together=True,
        ),
        Invalid(
            "a local path without a path",
            _source(local={"path": ""}, nodeAffinity=_AFFINITY),
            [
                required("spec.local.path"),
            ],
        ),
        Invalid(
            "a driver without a name, a handle, and secrets",
            _source(csi={"driver": "", "volumeHandle": "", "nodePublishSecretRef": {"name": "A"}}),
            [
                required("spec.csi.driver"),
                required("spec.csi.volumeHandle"),
                invalid("spec.csi.nodePublishSecretRef.name", '"A"', SUBDOMAIN),
                required("spec.csi.nodePublishSecretRef.namespace"),
            ],
        ),
        Invalid(
            "a place without constraints",
            {"spec.nodeAffinity": {}},
            [required("spec.nodeAffinity.required", "must specify required node constraints")],
        ),
        Invalid(
            "a place of no values",
            {"spec.nodeAffinity.required.nodeSelectorTerms.0.matchExpressions.0.values": GONE},
            [required(f"{_TERM}.values", "must be specified when `operator` is 'In' or 'NotIn'")],
            together=True,
        ),
        Invalid(
            "the whole machine, recycled",
            {"spec.hostPath.path": "//", "spec.persistentVolumeReclaimPolicy": "Recycle"},
            [forbidden("spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'")],
            on="minimal",
            together=True,
        ),
        Invalid(
            "attributes of no driver, of no name",
            {"spec.volumeAttributesClassName": ""},
            [
                required("spec.volumeAttributesClassName", "an empty string is disallowed"),
                required("spec.csi", "has to be specified when using volumeAttributesClassName"),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "classes that cannot be",
            {"spec.storageClassName": "A", "spec.volumeAttributesClassName": "B"},
            [
                invalid("spec.storageClassName", '"A"', SUBDOMAIN),
                invalid("spec.volumeAttributesClassName", '"B"', SUBDOMAIN),
            ],
        ),
        Invalid(
            "mount options of old where there are none",
            {f"metadata.annotations[{_OPTIONS}]": "ro"},
            [forbidden(f"metadata.annotations.{_OPTIONS}", "may not specify mount options for this volume type")],
            on="minimal",
            together=True,
        ),
    ],
    updates=[
        Update(
            "the source",
            {"spec.hostPath.path": "/other"},
            [forbidden("spec.persistentvolumesource", _DIFF)],
            on="minimal",
        ),
        Update(
            "the mode",
            {"spec.volumeMode": "Filesystem"},
            [invalid("volumeMode", '"Filesystem"', "field is immutable")],
        ),
        Update(
            "the place",
            {"spec.nodeAffinity.required.nodeSelectorTerms.0.matchExpressions.0.values": ["c"]},
            [
                invalid(
                    "nodeAffinity",
                    '{"Required":{"NodeSelectorTerms":[{"MatchExpressions":[{"Key":"a","Operator":"In","Values":["c"]}],'
                    '"MatchFields":null}]}}',
                    "field is immutable, except for updating from beta label to GA",
                )
            ],
        ),
        Update("a place, once", {"spec.nodeAffinity": _AFFINITY}, allowed=True, on="minimal"),
        Update(
            "a label of a place that has a later name",
            {
                "spec.nodeAffinity.required.nodeSelectorTerms.0.matchExpressions.0.key": "topology.kubernetes.io/zone",
            },
            before={
                "spec.nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {"key": "failure-domain.beta.kubernetes.io/zone", "operator": "Exists"}
                                ]
                            }
                        ]
                    }
                }
            },
            allowed=True,
            on="minimal",
        ),
        Update(
            "attributes taken away",
            {"spec.volumeAttributesClassName": GONE},
            [forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden")],
        ),
        Update("attributes", {"spec.volumeAttributesClassName": "silver"}, allowed=True),
        Update(
            "a secret for growth",
            {"spec.csi.controllerExpandSecretRef": {"name": "s", "namespace": "n"}},
            allowed=True,
        ),
        Update(
            "no access modes",
            {"spec.accessModes": GONE},
            _twice(required("spec.accessModes")),
        ),
        Update(
            "the claim, the size and the policy",
            {
                "spec.claimRef": GONE,
                "spec.capacity.storage": "2Gi",
                "spec.persistentVolumeReclaimPolicy": "Retain",
            },
            allowed=True,
        ),
        Update("a phase", {"status.phase": "Available"}, allowed=True, through="status"),
    ],
    rows=[
        Row(
            "new",
            {"spec.volumeMode": GONE},
            [
                "a",
                "1Gi",
                "RWO",
                "Retain",
                "Pending",
                "",
                "",
                "<unset>",
                "",
                "60m",
                "<unset>",
            ],
        ),
        Row(
            "bound",
            {"status.phase": "Bound", "status.reason": "Because"},
            [
                "a",
                "1Gi",
                "RWO,ROX",
                "Delete",
                "Bound",
                "default/c",
                "fast",
                "gold",
                "Because",
                "60m",
                "Block",
            ],
            on="full",
        ),
        Row(
            "on its way out, with a class of old",
            {
                "metadata.deletionTimestamp": "2026-11-21T11:00:00Z",
                f"metadata.annotations[{_CLASS}]": "slow",
                "spec.accessModes": ["ReadWriteOncePod", "ReadWriteMany"],
                "spec.capacity": GONE,
            },
            ["a", "0", "RWX,RWOP", "Retain", "Terminating", "", "slow", "<unset>", "", "60m", "Filesystem"],
        ),
    ],
    warned=[
        Warned("nothing", {}, []),
        Warned(
            "everything of old",
            {
                f"metadata.annotations[{_CLASS}]": "slow",
                "spec.persistentVolumeReclaimPolicy": "Recycle",
                "spec.hostPath": GONE,
                "spec.glusterfs": {"endpoints": "e", "path": "p"},
                "spec.nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "beta.kubernetes.io/os", "operator": "Exists"}]}
                        ]
                    }
                },
            },
            [
                f'metadata.annotations[{_CLASS}]: deprecated since v1.8; use "storageClassName" attribute instead',
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
                "recommended "
                "approach is to use dynamic provisioning.",
                f'{_TERM}.key: beta.kubernetes.io/os is deprecated since v1.14; use "kubernetes.io/os" instead',
                "spec.glusterfs: deprecated in v1.25, non-functional in v1.26+",
            ],
            on="minimal",
        ),
    ],
)
