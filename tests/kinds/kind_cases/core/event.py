"""Event (v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import GONE, Invalid, KindCases, Row, Update, invalid, required

_MATCH = "does not match event.namespace"
_TIMES = {"eventTime": None, "firstTimestamp": None, "lastTimestamp": None}
_LONG = "x" * 129
_PREFIX = "prefix part must be non-empty"
_FULL: dict[str, Any] = {
    "involvedObject": {
        "kind": "Pod", "namespace": "default", "name": "p", "uid": "u", "apiVersion": "v1", "resourceVersion": "7",
        "fieldPath": "spec.containers{c}",
    },
    "reason": "Started",
    "message": "Started container c",
    "type": "Normal",
    "source": {"component": "kubelet", "host": "n1"},
    "firstTimestamp": "2026-11-21T10:00:00Z",
    "lastTimestamp": "2026-11-21T11:00:00Z",
    "count": 3,
    "eventTime": "2026-11-21T10:00:00.000000Z",
    "series": {"count": 4, "lastObservedTime": "2026-11-21T11:30:00.000000Z"},
    "action": "Start",
    "related": {"kind": "Node", "name": "n1"},
    "reportingComponent": "k8s.io/kubelet",
    "reportingInstance": "n1",
}  # fmt: skip

_NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)

CASES = KindCases(
    api_version="v1",
    kind="Event",
    plural="events",
    minimal={"metadata": {"name": "a"}, "involvedObject": {}},
    minimal_stored={**_TIMES, "involvedObject": {}, "reportingComponent": "", "reportingInstance": "", "source": {}},
    full={"metadata": {"name": "a"}, **_FULL},
    full_stored=_FULL,
    invalid=[
        Invalid(
            "about another namespace",
            {"involvedObject.namespace": "other"},
            [
                invalid("involvedObject.namespace", '"other"', _MATCH),
            ],
            on="minimal",
            together=True,
        ),
        Invalid(
            "of the new form without anything",
            {"eventTime": "2026-11-21T10:00:00.000000Z"},
            [
                required("reportingComponent"),
                invalid("reportingComponent", '""', "name part must be non-empty"),
                invalid(
                    "reportingComponent",
                    '""',
                    _NAME_PART,
                ),
                required("reportingInstance"),
                required("action"),
                required("reason"),
            ],
            on="minimal",
            together=True,
        ),
        Invalid("a time and no instance", {"reportingInstance": ""}, [required("reportingInstance")], together=True),
        Invalid("a time and no action", {"action": GONE}, [required("action")], together=True),
        Invalid("a time and no reason", {"reason": GONE}, [required("reason")], together=True),
        Invalid(
            "a controller without a domain",
            {"reportingComponent": "/kubelet"},
            [
                invalid("reportingComponent", '"/kubelet"', _PREFIX),
            ],
        ),
        Invalid(
            "texts that are too long",
            {
                "reportingInstance": _LONG,
                "action": _LONG,
                "reason": _LONG,
                "message": "x" * 1025,
            },
            [
                *(
                    invalid(key, '""', "can have at most 128 characters")
                    for key in ("reportingInstance", "action", "reason")
                ),
                invalid("message", '""', "can have at most 1024 characters"),
            ],
        ),
        Invalid(
            "a long message of the new form",
            {"message": "x" * 1025},
            [
                invalid("message", '""', "can have at most 1024 characters"),
            ],
            together=True,
        ),
    ],
    updates=[
        Update(
            "about another namespace",
            {"involvedObject.namespace": "b"},
            [
                invalid("involvedObject.namespace", '"b"', _MATCH),
            ],
            on="minimal",
        ),
        Update("counted again", {"count": 4}, allowed=True),
    ],
    rows=[
        Row("nothing known", {}, ["<unknown>", "", "", "", "", "", "", "<unknown>", 1, "a"]),
        Row(
            "of the old form",
            {"series": GONE, "message": " m \n"},
            [
                "60m",
                "Normal",
                "Started",
                "pod/p",
                "spec.containers{c}",
                "kubelet, n1",
                "m",
                "120m",
                3,
                "a",
            ],
            on="full",
        ),
        Row(
            "a series",
            {},
            [
                "30m",
                "Normal",
                "Started",
                "pod/p",
                "spec.containers{c}",
                "kubelet, n1",
                "Started container c",
                "120m",
                4,
                "a",
            ],
            on="full",
        ),
        Row(
            "of the new form, about no name",
            {
                "firstTimestamp": None,
                "lastTimestamp": None,
                "series": GONE,
                "count": GONE,
                "source": {},
                "involvedObject": {"kind": "Node"},
            },
            [
                "120m",
                "Normal",
                "Started",
                "node",
                "",
                "k8s.io/kubelet, n1",
                "Started container c",
                "120m",
                1,
                "a",
            ],
            on="full",
        ),
        Row(
            "by nobody's machine",
            {"source": {"component": "scheduler"}, "reportingInstance": ""},
            [
                "<unknown>",
                "",
                "",
                "",
                "",
                "scheduler",
                "",
                "<unknown>",
                1,
                "a",
            ],
        ),
    ],
)
