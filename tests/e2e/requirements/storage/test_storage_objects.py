"""Objects of storage as the API keeps them, on a cluster with real nodes."""

from __future__ import annotations

import pytest
from e2e_scenes import Scene, container
from requirement_room import Obj, Refused, config_map, pod, secret

FROZEN = "field is immutable when `immutable` is set"


@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
def test_what_is_immutable_keeps_its_contents_and_can_be_labelled_and_deleted(storage: Scene, plural: str) -> None:
    """
    [sig-storage] ConfigMap should be immutable if `immutable` field is set [Conformance]
    [sig-storage] Secrets should be immutable if `immutable` field is set [Conformance]
    """
    room = storage.room
    make, path = (config_map if plural == "configmaps" else secret), room.path(plural, "immutable")
    room.create(make("immutable", **{"data-1": "value-1"}))
    room.api.patch(path, {"data": {"data-4": "dmFsdWUtNA=="}})
    room.api.patch(path, {"immutable": True})
    forbidden: list[Obj] = [{"data": {"data-5": "dmFsdWUtNQ=="}}, {"immutable": False}]
    for change in forbidden:
        with pytest.raises(Refused, match=FROZEN):
            room.api.patch(path, change)
    room.api.patch(path, {"metadata": {"labels": {"kept": "yes"}}})
    kept = room.api("GET", path)
    assert kept["metadata"]["labels"] == {"kept": "yes"}
    assert set(kept["data"]) == {"data-1", "data-4"} and kept["immutable"] is True
    room.api("DELETE", path)
    with pytest.raises(Refused, match="not found"):
        room.api("GET", path)


def test_pods_with_volumes_of_a_csi_driver_are_made_read_listed_changed_and_deleted(storage: Scene) -> None:
    """[sig-storage] CSIInlineVolumes should support CSIVolumeSource in Pod API [Conformance]"""
    room = storage.room
    source = {"driver": "inline.requirements.sampan.io", "readOnly": False, "volumeAttributes": {"a": "b"}}
    volumes = [{"name": "v", "csi": source}]
    room.create(pod("inline", container("true", {"v": "/v"}), labels={"csi": "inline"}, volumes=volumes))
    assert room.get("inline")["spec"]["volumes"] == volumes
    (listed,) = room.api("GET", room.path(), labelSelector="csi=inline")["items"]
    assert listed["metadata"]["name"] == "inline"
    room.api.patch(room.path(name="inline"), {"metadata": {"labels": {"changed": "yes"}}})
    assert room.get("inline")["metadata"]["labels"]["changed"] == "yes"
    room.delete("inline")
    storage.gone("inline")
    assert room.api("GET", room.path(), labelSelector="csi=inline")["items"] == []
