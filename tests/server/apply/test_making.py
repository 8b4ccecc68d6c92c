"""What the maker of an object owns is the same whether its like was made before or not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.api.apply import making
from sampan.api.apply.comparing import compare
from sampan.api.apply.interned import SETS
from sampan.api.apply.resets import reset_by
from sampan.api.apply.updating import UNOWNED
from sampan.api.registry import registry
from sampan.server.rest.ownership import kind_shape, zero_of

CONTAINERS = [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]
SPEC = {"containers": CONTAINERS, "restartPolicy": "Always", "tolerations": [{"key": "a"}], "nodeSelector": {"a": "b"}}


def pod(metadata: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(SPEC), **others}


METADATA = [
    {"name": "a"},
    {"name": "b"},
    {"name": "a", "labels": {"app": "x"}},
    {"name": "a", "labels": {"app": "y", "more": "z"}},
    {"generateName": "a-", "ownerReferences": [{"uid": "1", "name": "r"}]},
    {"generateName": "a-", "ownerReferences": [{"uid": "2", "name": "r"}], "finalizers": ["f/g"]},
]


def test_what_is_owned_of_the_same_spec_goes_by_all_else_too() -> None:
    kind = registry().by_resource("", "v1", "pods")
    assert kind is not None
    shape, zero, reset = kind_shape(kind), zero_of(kind), reset_by(kind, "")
    for _ in range(2):
        for metadata in METADATA:
            for others in ({}, {"status": {"phase": "Running"}}):
                obj = pod(metadata, **others)
                expected = SETS.written(compare(shape, zero, obj), reset, UNOWNED)
                assert making.made(shape, zero, obj, reset) == expected
                assert "f:containers" in expected["f:spec"]


def test_the_same_spec_of_another_kind_is_another() -> None:
    found = []
    for plural in ("deployments", "replicasets"):
        kind = registry().by_resource("apps", "v1", plural)
        assert kind is not None
        obj = {"metadata": {"name": "a"}, "spec": {"paused": True, "replicas": 1, "minReadySeconds": 1}}
        found.append(making.made(kind_shape(kind), zero_of(kind), obj, reset_by(kind, ""))["f:spec"])
    assert "f:paused" in found[0]
    assert "f:paused" not in found[1]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "MOST", 8)
    kind = registry().by_resource("", "v1", "pods")
    assert kind is not None
    making.forget()
    for number in range(30):
        obj = {"metadata": {}, "spec": {**SPEC, "nodeName": f"n{number}"}}
        assert "f:nodeName" in making.made(kind_shape(kind), zero_of(kind), obj, reset_by(kind, ""))["f:spec"]
        assert len(making._made) <= 8
    kept = len(making._made)
    for name in ("n" * making.LONGEST_BYTES, "\ud800"):  # too long to be kept; nothing that could be stored
        obj = {"metadata": {}, "spec": {**SPEC, "nodeName": name}}
        assert "f:nodeName" in making.made(kind_shape(kind), zero_of(kind), obj, reset_by(kind, ""))["f:spec"]
        assert len(making._made) == kept
