"""ConfigMap (v1)."""

from __future__ import annotations

from kind_harness import GONE, SUBDOMAIN, Cause, Invalid, KindCases, Row, Update, forbidden, invalid

_KEY = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)

CASES = KindCases(
    api_version="v1",
    kind="ConfigMap",
    plural="configmaps",
    minimal={"metadata": {"name": "a"}},
    minimal_stored={},
    full={
        "metadata": {"name": "a", "labels": {"app": "web"}, "annotations": {"a.io/b": "c"}},
        "data": {"key": "value", "file.conf": "a=b\n"},
        "binaryData": {"blob": "AAEC"},
        "immutable": True,
    },
    full_stored={
        "data": {"key": "value", "file.conf": "a=b\n"},
        "binaryData": {"blob": "AAEC"},
        "immutable": True,
    },
    invalid=[
        Invalid("a key with a space", {"data": {"a b": "c"}}, [invalid("data[a b]", '"a b"', _KEY)]),
        Invalid("a key that is a folder", {"data": {"..": "c"}}, [invalid("data[..]", '".."', "must not be '..'")]),
        Invalid(
            "a key that leaves its folder",
            {"data": {"..a": "c"}},
            [invalid("data[..a]", '"..a"', "must not start with '..'")],
        ),
        Invalid(
            "a binary key that is too long",
            {"binaryData": {"k" * 254: ""}},
            [invalid(f"binaryData[{'k' * 254}]", f'"{"k" * 254}"', "must be no more than 253 bytes")],
        ),
        Invalid(
            "a key in both",
            {"binaryData": {"key": "AAEC"}},
            [invalid("data[key]", '"key"', "duplicate of key present in binaryData")],
            together=True,
        ),
        Invalid(
            "both keys in both",
            {"binaryData": {"key": "", "file.conf": ""}},
            [
                invalid("data[key]", '"key"', "duplicate of key present in binaryData"),
                invalid("data[file.conf]", '"file.conf"', "duplicate of key present in binaryData"),
            ],
            together=True,
        ),
        Invalid(
            "a mebibyte in both together",
            {"data": {"a": "x" * 600_000}, "binaryData": {"b": "A" * 800_000}},
            [Cause("FieldValueTooLong", "[]", "Too long: may not be more than 1048576 bytes")],
            together=True,
        ),
        Invalid(
            "a name with capitals",
            {"metadata.name": "A"},
            [invalid("metadata.name", '"A"', SUBDOMAIN)],
        ),
    ],
    updates=[
        Update(
            "immutable data", {"data.key": "other"}, [forbidden("data", "field is immutable when `immutable` is set")]
        ),
        Update(
            "immutable taken away",
            {"immutable": GONE},
            [forbidden("immutable", "field is immutable when `immutable` is set")],
        ),
        Update("labels of an immutable one", {"metadata.labels.app": "api"}, allowed=True),
    ],
    rows=[
        Row("empty", {}, ["a", 0, "60m"]),
        Row("data and binary data", {}, ["a", 3, "60m"], on="full"),
    ],
)
