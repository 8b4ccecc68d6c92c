"""Eviction and EvictionRequest (lifecycle.k8s.io/v1alpha1, off by default)."""

from __future__ import annotations

from kind_harness import Invalid, KindCases, Row, Update, required

_POD = {"pod": {"name": "p", "uid": "6a1fbb3c-0f4b-4dd1-8d3c-8a8e9a1f0f11"}}

_EVICTION = KindCases(
    api_version="lifecycle.k8s.io/v1alpha1",
    kind="Eviction",
    plural="evictions",
    minimal={"metadata": {"name": "a"}, "spec": {"target": _POD}},
    minimal_stored={"spec": {"target": _POD}, "status": {}},
    full={"metadata": {"name": "a"}, "spec": {"target": _POD}},
    full_stored={"spec": {"target": _POD}, "status": {}},
    few_rules="it is alpha, and has one field",
    invalid=[Invalid("of nothing", {"spec": {}}, [required("spec.target")])],
    updates=[Update("labels", {"metadata.labels": {"a": "b"}}, allowed=True)],
    rows=[Row("as it is", {}, ["a", "60m"])],
)

_REQUEST = KindCases(
    api_version="lifecycle.k8s.io/v1alpha1",
    kind="EvictionRequest",
    plural="evictionrequests",
    minimal={"metadata": {"name": "a"}, "spec": {"target": _POD, "requester": "acme.io/r", "intent": "Evict"}},
    minimal_stored={"spec": {"target": _POD, "requester": "acme.io/r", "intent": "Evict"}, "status": {}},
    full={"metadata": {"name": "a"}, "spec": {"target": _POD, "requester": "acme.io/r", "intent": "Evict"}},
    full_stored={"spec": {"target": _POD, "requester": "acme.io/r", "intent": "Evict"}, "status": {}},
    few_rules="it is alpha",
    invalid=[
        Invalid(
            "of nothing, by nobody",
            {"spec": {}},
            [required("spec.target"), required("spec.requester"), required("spec.intent")],
        )
    ],
    updates=[Update("labels", {"metadata.labels": {"a": "b"}}, allowed=True)],
    rows=[Row("as it is", {}, ["a", "60m"])],
)

CASES = [_EVICTION, _REQUEST]
