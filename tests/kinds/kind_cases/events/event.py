"""Event (events.k8s.io/v1): what is stored is core/v1, and what is said of its faults names the fields there."""

from __future__ import annotations

from kind_harness import GONE, Invalid, KindCases, Row, Update, invalid, required

_TIME = "2026-11-21T11:00:00.000000Z"
_UNSET = "needs to be unset"
_POD = {"kind": "Pod", "namespace": "default", "name": "p"}
_MINIMAL = {
    "action": "Start",
    "eventTime": _TIME,
    "reason": "Started",
    "reportingController": "acme.io/c",
    "reportingInstance": "c-1",
    "regarding": _POD,
    "type": "Normal",
}
_ALWAYS = {"deprecatedFirstTimestamp": None, "deprecatedLastTimestamp": None, "deprecatedSource": {}}
_FULL = {
    **_MINIMAL,
    "note": "It goes on.",
    "related": {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"},
    "series": {"count": 2, "lastObservedTime": "2026-11-21T11:30:00.000000Z"},
}

CASES = KindCases(
    api_version="events.k8s.io/v1",
    kind="Event",
    plural="events",
    group_said="",
    minimal={"metadata": {"name": "a"}, **_MINIMAL},
    minimal_stored={**_ALWAYS, **_MINIMAL},
    full={"metadata": {"name": "a"}, **_FULL},
    full_stored={**_ALWAYS, **_FULL},
    invalid=[
        Invalid(
            "nothing but what it is about", {"eventTime": GONE, "type": GONE, "reason": GONE, "action": GONE},
            [required("eventTime"), invalid("type", '""', "has invalid value: ")], on="minimal",
        ),
        Invalid("an unknown type", {"type": "Error"}, [invalid("type", '""', "has invalid value: Error")]),
        Invalid("nothing said", {"reason": GONE, "action": GONE}, [required("action"), required("reason")]),
        Invalid("too much said", {"note": "n" * 1025},
                [invalid("message", '""', "can have at most 1024 characters")]),
        Invalid("too long a reason", {"reason": "R" * 129},
                [invalid("reason", '""', "can have at most 128 characters")]),
        Invalid("of nobody", {"reportingInstance": GONE}, [required("reportingInstance")]),
        Invalid("something outside of its namespace", {"eventTime": GONE, "regarding.namespace": "other"},
                [
                    invalid("involvedObject.namespace", '"other"', "does not match event.namespace"),
                    required("eventTime"),
                ]),
        Invalid(
            "what only old ones have", {"deprecatedFirstTimestamp": "2026-11-21T11:00:00Z", "deprecatedCount": 2,
                                        "deprecatedSource": {"component": "kubelet"}},
            [invalid("firstTimestamp", '""', _UNSET), invalid("count", '""', _UNSET), invalid("source", '""', _UNSET)],
            together=True,
        ),
        Invalid("a series of one", {"series.count": 1}, [invalid("series.count", '""', "should be at least 2")],
                together=True),
        Invalid("a series without a last one", {"series.lastObservedTime": GONE},
                [required("series.lastObservedTime")], together=True),
    ],
    updates=[
        Update("goes on", {"series.count": 3, "series.lastObservedTime": "2026-11-21T11:45:00.000000Z"}, allowed=True),
        Update("goes back", {"series.count": 1}, [invalid("series.count", '""', "should be at least 2")]),
        Update(
            "another reason, about something else",
            {"reason": "Stopped", "regarding.name": "q", "note": GONE, "related": GONE, "type": "Warning"},
            [
                invalid("involvedObject",
                        '{"Kind":"Pod","Namespace":"default","Name":"q","UID":"","APIVersion":"","ResourceVersion":"",'
                        '"FieldPath":""}', "field is immutable"),
                invalid("reason", '"Stopped"', "field is immutable"),
                invalid("message", '""', "field is immutable"),
                invalid("reason", '"Stopped"', "field is immutable"),
                invalid("type", '"Warning"', "field is immutable"),
                invalid("related", "null", "field is immutable"),
            ],
        ),
        Update("of another controller", {"reportingController": "acme.io/d"},
               [invalid("reportingController", '"acme.io/d"', "field is immutable")]),
    ],
    rows=[
        Row("once", {}, ["60m", "Normal", "Started", "pod/p", "", "acme.io/c, c-1", "", "60m", 1, "a"]),
        Row("a series", {},
            ["30m", "Normal", "Started", "pod/p", "", "acme.io/c, c-1", "It goes on.", "60m", 2, "a"], on="full"),
    ],
)  # fmt: skip
