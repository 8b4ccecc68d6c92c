"""Named Go types of fields: in the words of decoding errors, and as enumerations."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api import schema


@pytest.mark.parametrize(
    ("name", "obj", "error"),
    [
        (
            "core.v1.Pod",
            {"spec": {"containers": [{"imagePullPolicy": 1}]}},
            "cannot unmarshal number into Go struct field Container.spec.containers.imagePullPolicy "
            "of type v1.PullPolicy",
        ),
        (
            "core.v1.Pod",
            {"spec": {"containers": [{"resources": {"limits": "1"}}]}},
            "cannot unmarshal string into Go struct field ResourceRequirements.spec.containers.resources.limits "
            "of type v1.ResourceList",
        ),
        (
            "core.v1.Pod",
            {"metadata": {"uid": True}},
            "cannot unmarshal bool into Go struct field ObjectMeta.metadata.uid of type types.UID",
        ),
        (
            "core.v1.PersistentVolumeClaim",
            {"spec": {"accessModes": "ReadWriteOnce"}},
            "cannot unmarshal string into Go struct field PersistentVolumeClaimSpec.spec.accessModes "
            "of type []v1.PersistentVolumeAccessMode",
        ),
        (
            "core.v1.PersistentVolumeClaim",
            {"status": {"allocatedResourceStatuses": []}},
            "cannot unmarshal array into Go struct field PersistentVolumeClaimStatus.status.allocatedResourceStatuses "
            "of type map[v1.ResourceName]v1.ClaimResourceStatus",
        ),
        (
            "core.v1.Pod",
            {"spec": {"nodeName": 1}},
            "cannot unmarshal number into Go struct field PodSpec.spec.nodeName of type string",
        ),
    ],
)
def test_a_wrong_type_is_told_with_the_name_of_the_go_type(name: str, obj: dict[str, Any], error: str) -> None:
    decoded = schema.decode(schema.load().definition(f"io.k8s.api.{name}"), obj)
    assert decoded.error == f"json: {error}"


def test_enumerations_are_the_marked_types_alone() -> None:
    loaded = schema.load()
    assert loaded.enum("io.k8s.api.core.v1.Protocol") == ["SCTP", "TCP", "UDP"]
    assert loaded.enum("io.k8s.api.core.v1.ConditionStatus") == []
    assert loaded.enum("io.k8s.api.core.v1.Pod") == []


def test_every_named_type_is_of_a_field_and_every_enumeration_of_a_named_type() -> None:
    loaded = schema.load()
    named = set()
    for name in loaded.names():
        types = loaded.go_types(name)
        assert types.keys() <= loaded.properties(name).keys(), name
        assert loaded.defaults(name).keys() <= loaded.properties(name).keys(), name
        named |= {go_type.rpartition("]")[2] for go_type in types.values()}
    enumerations = [name for name in named if loaded.enum(name)]
    assert len(enumerations) > 80
    for name in enumerations:
        assert loaded.enum(name) == sorted(set(loaded.enum(name)))
