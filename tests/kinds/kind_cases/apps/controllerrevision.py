"""ControllerRevision (apps/v1)."""

from __future__ import annotations

from kind_harness import GONE, SUBDOMAIN, Invalid, KindCases, Row, Update, invalid, required

_OWNER = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "u", "controller": True}

CASES = KindCases(
    api_version="apps/v1",
    kind="ControllerRevision",
    plural="controllerrevisions",
    minimal={"metadata": {"name": "a"}, "data": {"spec": {"a": 1}}, "revision": 1},
    minimal_stored={"data": {"spec": {"a": 1}}, "revision": 1},
    full={
        "metadata": {"name": "a", "ownerReferences": [_OWNER]},
        "data": {"spec": {"template": {"$patch": "replace"}}},
        "revision": 7,
    },
    full_stored={"data": {"spec": {"template": {"$patch": "replace"}}}, "revision": 7},
    few_rules="it has two fields, and they do not depend on each other",
    invalid=[
        Invalid("no data", {"data": GONE}, [required("data", "data is mandatory")]),
        Invalid("before the first", {"revision": -1},
                [invalid("revision", "-1", "must be greater than or equal to 0")]),
        Invalid(
            "both", {"data": GONE, "revision": -1},
            [required("data", "data is mandatory"), invalid("revision", "-1", "must be greater than or equal to 0")],
        ),
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', SUBDOMAIN)]),
    ],
    updates=[
        Update("another number", {"revision": 8}, allowed=True),
        Update("other data", {"data": {"b": 2}}, [invalid("data", '{"b":2}', "field is immutable")]),
        Update("no data", {"data": GONE},
               [required("data", "data is mandatory"), invalid("data", "null", "field is immutable")]),
    ],
    rows=[
        Row("nobody's", {}, ["a", "<none>", 1, "60m"]),
        Row("a controller's", {}, ["a", "daemonset.apps/d", 7, "60m"], on="full"),
        Row("of the core group", {"metadata.ownerReferences": [{**_OWNER, "apiVersion": "v1", "kind": "Pod"}]},
            ["a", "pod/d", 1, "60m"]),
        Row("owned, not controlled", {"metadata.ownerReferences": [{**_OWNER, "controller": False}]},
            ["a", "<none>", 1, "60m"]),
    ],
)  # fmt: skip
