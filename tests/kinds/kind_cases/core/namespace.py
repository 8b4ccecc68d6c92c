"""Namespace (v1)."""

from __future__ import annotations

from kind_harness import LABEL, Invalid, KindCases, Row, Update, invalid

_STANDARD = "name is neither a standard finalizer name nor is it fully qualified"
_NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_STATUS = {"phase": "Active"}

CASES = KindCases(
    api_version="v1",
    kind="Namespace",
    plural="namespaces",
    namespaced=False,
    minimal={"metadata": {"name": "a"}},
    minimal_stored={"spec": {"finalizers": ["kubernetes"]}, "status": _STATUS},
    full={
        "metadata": {"name": "a", "annotations": {"a.io/b": "c"}},
        "spec": {"finalizers": ["a.io/b", "orphan"]},
    },
    full_stored={"spec": {"finalizers": ["a.io/b", "orphan", "kubernetes"]}, "status": _STATUS},
    metadata_adds={"labels": {"kubernetes.io/metadata.name": "a"}},
    invalid=[
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', LABEL)]),
        Invalid(
            "a name with dots",
            {"metadata.name": "a.b"},
            [
                invalid("metadata.name", '"a.b"', "must not contain dots"),
            ],
        ),
        Invalid(
            "a long name",
            {"metadata.name": "a" * 64},
            [
                invalid("metadata.name", f'"{"a" * 64}"', "must be no more than 63 bytes"),
                invalid("metadata.labels", f'"{"a" * 64}"', "must be no more than 63 bytes"),
            ],
        ),
        Invalid(
            "a finalizer that nobody knows",
            {"spec.finalizers": ["x"]},
            [
                invalid("spec.finalizers", '"x"', _STANDARD),
            ],
        ),
        Invalid(
            "a finalizer that is no name",
            {"spec.finalizers": ["a b"]},
            [
                invalid("spec.finalizers", '"a b"', _NAME_PART),
                invalid("spec.finalizers", '"a b"', _STANDARD),
            ],
        ),
        Invalid(
            "a finalizer without a domain",
            {"spec.finalizers": ["/x"]},
            [
                invalid("spec.finalizers", '"/x"', "prefix part must be non-empty"),
            ],
        ),
    ],
    few_rules="its names are all that it has",
    updates=[
        Update(
            "finalizers change elsewhere", {"spec.finalizers": ["kubernetes"], "metadata.labels.b": "c"}, allowed=True
        ),
        Update("finalizers through their own way", {"spec.finalizers": ["a.io/b"]}, allowed=True, through="finalize"),
        Update(
            "a finalizer that nobody knows",
            {"spec.finalizers": ["a.io/b", "x"]},
            [
                invalid("spec.finalizers[1]", '"x"', _STANDARD),
            ],
            through="finalize",
        ),
        Update(
            "a phase before its time",
            {"status.phase": "Terminating"},
            [
                invalid("status.Phase", '"Terminating"', "may only be 'Active' if `deletionTimestamp` is empty"),
            ],
            through="status",
        ),
        Update("conditions", {"status.conditions": [{"type": "A", "status": "True"}]}, allowed=True, through="status"),
    ],
    rows=[
        Row("active", {}, ["a", "Active", "60m"]),
        Row("terminating", {"status.phase": "Terminating"}, ["a", "Terminating", "60m"]),
    ],
)
