"""Objects of storage as the API keeps them, on a cluster with real nodes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from e2e_scenes import Scene, as_list, container, pod
from storage_scene import config_map, secret


@pytest.mark.parametrize("kind", ["configmap", "secret"])
def test_what_is_immutable_keeps_its_contents_and_can_be_labelled_and_deleted(storage: Scene, kind: str) -> None:
    """
    [sig-storage] ConfigMap should be immutable if `immutable` field is set [Conformance]
    [sig-storage] Secrets should be immutable if `immutable` field is set [Conformance]
    """
    kubectl, name = storage.kubectl, f"{kind}/immutable"
    make = config_map if kind == "configmap" else secret
    storage.apply([make("immutable", {"data-1": "value-1"})])

    def change(**fields: Any) -> tuple[str, ...]:
        return ("patch", name, "--type=merge", "-p", json.dumps(fields))

    kubectl(*change(data={"data-4": "dmFsdWUtNA=="}))
    kubectl(*change(immutable=True))
    assert "field is immutable when `immutable` is set" in kubectl.fails(*change(data={"data-5": "dmFsdWUtNQ=="}))
    assert "field is immutable when `immutable` is set" in kubectl.fails(*change(immutable=False))
    kubectl(*change(metadata={"labels": {"kept": "yes"}}))
    kept = kubectl.json("get", name)
    assert kept["metadata"]["labels"] == {"kept": "yes"}
    assert set(kept["data"]) == {"data-1", "data-4"} and kept["immutable"] is True
    kubectl("delete", name)


def test_pods_with_volumes_of_a_csi_driver_are_made_read_listed_changed_and_deleted(storage: Scene) -> None:
    """[sig-storage] CSIInlineVolumes should support CSIVolumeSource in Pod API [Conformance]"""
    kubectl = storage.kubectl
    source = {"driver": "inline.requirements.sampan.io", "readOnly": False, "volumeAttributes": {"a": "b"}}
    made = pod("inline", container("main", "true", {"v": "/v"}), volumes=[{"name": "v", "csi": source}])
    made["metadata"]["labels"] = {"csi": "inline"}
    kubectl("create", "-f", "-", stdin=as_list([made]))
    assert kubectl.json("get", "pod", "inline")["spec"]["volumes"] == [{"name": "v", "csi": source}]
    (listed,) = kubectl.json("get", "pods", "-l", "csi=inline")["items"]
    assert listed["metadata"]["name"] == "inline"
    kubectl("label", "pod", "inline", "changed=yes")
    assert kubectl.json("get", "pod", "inline")["metadata"]["labels"] == {"csi": "inline", "changed": "yes"}
    kubectl("delete", "pod", "inline")
    assert kubectl.json("get", "pods", "-l", "csi=inline")["items"] == []
