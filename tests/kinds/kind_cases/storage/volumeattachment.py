"""VolumeAttachment (storage.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import GONE, SUBDOMAIN, Cause, Invalid, KindCases, Row, Update, forbidden, invalid, required
from kind_texts import IMMUTABLE

_SPEC = {"attacher": "disk.ex.io", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}
_ONE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
_STORED = {"spec": _SPEC, "status": {"attached": False}}


def _too_long(path: str, limit: int) -> Cause:
    return Cause("FieldValueTooLong", path, f"Too long: may not be more than {limit} bytes")


CASES = KindCases(
    api_version="storage.k8s.io/v1",
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    minimal={"metadata": {"name": "a"}, "spec": _SPEC},
    minimal_stored=_STORED,
    full={"metadata": {"name": "a"}, "spec": _SPEC, "status": {"attached": True, "attachmentMetadata": {"a": "b"}}},
    full_stored=_STORED,
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
        Invalid(
            "no attacher",
            {"spec.attacher": ""},
            [required("spec.attacher"), required("spec.attacher")],
        ),
        Invalid(
            "an attacher with a space",
            {"spec.attacher": "my disk"},
            [invalid("spec.attacher", '"my disk"', SUBDOMAIN)],
        ),
        Invalid("an attacher with a long name", {"spec.attacher": "d" * 64}, [_too_long("spec.attacher", 63)]),
        Invalid("no node", {"spec.nodeName": ""}, [invalid("spec.nodeName", '""', SUBDOMAIN)]),
        Invalid(
            "a volume with capitals",
            {"spec.source.persistentVolumeName": "PV"},
            [invalid("spec.source.persistentVolumeName", '"PV"', SUBDOMAIN)],
        ),
        Invalid("nothing to attach", {"spec.source": {}}, [required("spec.source", _ONE)], together=True),
        Invalid(
            "two things to attach",
            {"spec.source.inlineVolumeSpec": {"nfs": {"server": "s", "path": "/"}}},
            [forbidden("spec.source", _ONE)],
            together=True,
        ),
        Invalid(
            "a volume without name, nowhere",
            {"spec.source.persistentVolumeName": "", "spec.nodeName": "N"},
            [
                required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName"),
                invalid("spec.nodeName", '"N"', SUBDOMAIN),
                invalid("spec.source.persistentVolumeName", '""', SUBDOMAIN),
            ],
            together=True,
        ),
    ],
    updates=[
        Update(
            "another node",
            {"spec.nodeName": "m"},
            [
                invalid(
                    "spec",
                    '{"Attacher":"disk.ex.io","Source":{"PersistentVolumeName":"pv","InlineVolumeSpec":null},'
                    '"NodeName":"m"}',
                    IMMUTABLE,
                )
            ],
        ),
        Update("attached", {"status.attached": True}, allowed=True, through="status"),
        Update(
            "an error that is too long",
            {"status.attachError": {"message": "x" * 1025}},
            [_too_long("status.attachError.message", 262144)],
            through="status",
        ),
        Update(
            "an error with a code below zero",
            {"status.detachError": {"errorCode": -1}},
            [invalid("status.detachError.errorCode", "-1", "must be between 0 and 2147483647, inclusive")],
            through="status",
        ),
        Update(
            "too much about the volume",
            {"status.attachmentMetadata": {"a": "x" * 262144}},
            [_too_long("status.attachmentMetadata", 262144)],
            through="status",
        ),
    ],
    rows=[
        Row("not attached", {}, ["a", "disk.ex.io", "pv", "n", False, "60m"]),
        Row("attached", {"status.attached": True}, ["a", "disk.ex.io", "pv", "n", True, "60m"]),
        Row(
            "an inline volume",
            {"spec.source": {"inlineVolumeSpec": {}}},
            ["a", "disk.ex.io", "", "n", False, "60m"],
        ),
        Row("no status", {"status": GONE}, ["a", "disk.ex.io", "pv", "n", False, "60m"]),
    ],
)
