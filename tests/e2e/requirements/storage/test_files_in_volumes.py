"""What pods find in volumes of ConfigMaps, Secrets and projections: contents, modes, owners, whoever they run as."""

from __future__ import annotations

import pytest
from e2e_scenes import Scene
from storage_scene import BINARY, DATA, GROUP, SHAPES, SOURCES, SUBPATHS, USER, USERS

from sampan.api import quantity

CPU_LIMIT, MEMORY_LIMIT, MEMORY_REQUEST = "2", str(64 << 20), str(32 << 20)


def volume(source: str, shape: str) -> str:
    return f"/v/{source}-{shape}"


@pytest.mark.parametrize("source", SOURCES)
def test_files_have_their_objects_contents_and_the_mode_that_the_volume_says(storage: Scene, source: str) -> None:
    """
    [sig-storage] ConfigMap should be consumable from pods in volume [NodeConformance] [Conformance]
    [sig-storage] ConfigMap should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] Projected configMap should be consumable from pods in volume [NodeConformance] [Conformance]
    [sig-storage] Projected configMap should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] Secrets should be consumable from pods in volume [NodeConformance] [Conformance]
    [sig-storage] Secrets should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] Projected secret should be consumable from pods in volume [NodeConformance] [Conformance]
    [sig-storage] Projected secret should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance] [Conformance]
    """  # noqa: E501 - titles are facts
    files = storage.files("files-root")
    for shape, mode in (("plain", 0o644), ("mode", 0o400)):
        for key, text in DATA.items():
            found = files[f"{volume(source, shape)}/{key}"]
            assert (found.text, found.mode, found.uid, found.gid) == (text, mode, 0, 0)


@pytest.mark.parametrize("source", SOURCES)
def test_items_say_which_keys_there_are_where_and_with_what_mode(storage: Scene, source: str) -> None:
    """
    [sig-storage] ConfigMap should be consumable from pods in volume with mappings [NodeConformance] [Conformance]
    [sig-storage] ConfigMap should be consumable from pods in volume with mappings and Item mode set [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] Projected configMap should be consumable from pods in volume with mappings [NodeConformance] [Conformance]
    [sig-storage] Projected configMap should be consumable from pods in volume with mappings and Item mode set [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] Secrets should be consumable from pods in volume with mappings [NodeConformance] [Conformance]
    [sig-storage] Secrets should be consumable from pods in volume with mappings and Item Mode set [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] Projected secret should be consumable from pods in volume with mappings [NodeConformance] [Conformance]
    [sig-storage] Projected secret should be consumable from pods in volume with mappings and Item Mode set [LinuxOnly] [NodeConformance] [Conformance]
    """  # noqa: E501 - titles are facts
    files = storage.files("files-root")
    for shape, mode in (("mapped", 0o644), ("mapped-mode", 0o400)):
        inside = {path: file for path, file in files.items() if path.startswith(volume(source, shape) + "/")}
        assert {path.removeprefix(volume(source, shape)): (file.text, file.mode) for path, file in inside.items()} == {
            "/path/to/data-2": ("value-2", mode)
        }


@pytest.mark.parametrize("source", SOURCES)
def test_one_object_is_in_several_volumes_of_a_pod(storage: Scene, source: str) -> None:
    """
    [sig-storage] ConfigMap should be consumable in multiple volumes in the same pod [NodeConformance] [Conformance]
    [sig-storage] Projected configMap should be consumable in multiple volumes in the same pod [NodeConformance] [Conformance]
    [sig-storage] Secrets should be consumable in multiple volumes in a pod [NodeConformance] [Conformance]
    [sig-storage] Projected secret should be consumable in multiple volumes in a pod [NodeConformance] [Conformance]
    """  # noqa: E501 - titles are facts
    files = storage.files("files-root")
    for key, text in DATA.items():
        assert files[f"{volume(source, 'plain')}/{key}"].text == files[f"{volume(source, 'again')}/{key}"].text == text


@pytest.mark.parametrize("source", SOURCES)
def test_who_is_not_root_reads_what_the_modes_allow(storage: Scene, source: str) -> None:
    """
    [sig-storage] ConfigMap should be consumable from pods in volume as non-root [NodeConformance] [Conformance]
    [sig-storage] ConfigMap should be consumable from pods in volume with mappings as non-root [NodeConformance] [Conformance]
    [sig-storage] Projected configMap should be consumable from pods in volume as non-root [NodeConformance] [Conformance]
    [sig-storage] Projected configMap should be consumable from pods in volume with mappings as non-root [NodeConformance] [Conformance]
    """  # noqa: E501 - titles are facts
    files = storage.files("files-user")
    assert files[f"{volume(source, 'plain')}/data-1"].text == "value-1"
    assert files[f"{volume(source, 'plain')}/data-1"].mode == 0o644
    assert files[f"{volume(source, 'mapped')}/path/to/data-2"].text == "value-2"
    assert files[f"{volume(source, 'mode')}/data-1"].data == b"", "root's alone"


@pytest.mark.parametrize("source", SOURCES)
def test_the_pods_group_reads_what_its_volumes_hold(storage: Scene, source: str) -> None:
    """
    [sig-storage] Secrets should be consumable from pods in volume as non-root with defaultMode and fsGroup set [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] Projected secret should be consumable from pods in volume as non-root with defaultMode and fsGroup set [LinuxOnly] [NodeConformance] [Conformance]
    """  # noqa: E501 - titles are facts
    found = storage.files("files-group")[f"{volume(source, 'group-mode')}/data-1"]
    assert (found.text, found.mode, found.uid, found.gid) == ("value-1", 0o440, 0, GROUP)
    assert storage.ended("files-group")["spec"]["securityContext"] == {"runAsUser": USER, "fsGroup": GROUP}


def test_volumes_hold_nothing_else(storage: Scene) -> None:
    mapped = len([shape for shape in SHAPES if "mapped" in shape])
    whole = len(SHAPES) - mapped
    binary = len([source for source in SOURCES if "configmap" in source]) * whole
    for name in USERS:
        assert len(storage.files(name)) == len(SOURCES) * (whole * len(DATA) + mapped) + binary


def test_binary_data_is_in_the_volume_as_it_is(storage: Scene) -> None:
    """[sig-storage] ConfigMap binary data should be reflected in volume [NodeConformance] [Conformance]"""
    path = f"{volume('configmap', 'plain')}/dump.bin"
    assert storage.files("files-root")[path].data == BINARY
    assert storage.files("files-root")[f"{volume('configmap', 'plain')}/data-1"].text == "value-1"


def test_a_secret_is_that_of_the_pods_namespace(storage: Scene) -> None:
    """
    [sig-storage] Secrets should be able to mount in a volume regardless of a different secret existing with same name in different namespace [NodeConformance] [Conformance]
    """  # noqa: E501 - titles are facts
    found = storage.files("files-root")[f"{volume('secret', 'plain')}/data-1"]
    assert (found.text, found.mode) == ("value-1", 0o644)


@pytest.mark.parametrize("source", ["downward", "projected-downward"])
def test_a_pod_reads_its_name_and_its_containers_resources_in_files(storage: Scene, source: str) -> None:
    """
    [sig-storage] Downward API volume should provide podname only [NodeConformance] [Conformance]
    [sig-storage] Downward API volume should provide container's cpu limit [NodeConformance] [Conformance]
    [sig-storage] Downward API volume should provide container's cpu request [NodeConformance] [Conformance]
    [sig-storage] Downward API volume should provide container's memory limit [NodeConformance] [Conformance]
    [sig-storage] Downward API volume should provide container's memory request [NodeConformance] [Conformance]
    [sig-storage] Projected downwardAPI should provide podname only [NodeConformance] [Conformance]
    [sig-storage] Projected downwardAPI should provide container's cpu limit [NodeConformance] [Conformance]
    [sig-storage] Projected downwardAPI should provide container's cpu request [NodeConformance] [Conformance]
    [sig-storage] Projected downwardAPI should provide container's memory limit [NodeConformance] [Conformance]
    [sig-storage] Projected downwardAPI should provide container's memory request [NodeConformance] [Conformance]
    """
    files = storage.files("downward")
    found = {name: files[f"{volume(source, 'all')}/{name}"].text for name in
             ("podname", "limits_cpu", "requests_cpu", "limits_memory", "requests_memory")}  # fmt: skip
    assert found == {
        "podname": "downward", "limits_cpu": CPU_LIMIT, "requests_cpu": "1",
        "limits_memory": MEMORY_LIMIT, "requests_memory": MEMORY_REQUEST,
    }  # fmt: skip


@pytest.mark.parametrize("source", ["downward", "projected-downward"])
def test_a_container_without_limits_reads_what_its_node_can_give(storage: Scene, source: str) -> None:
    """
    [sig-storage] Downward API volume should provide node allocatable (cpu) as default cpu limit if the limit is not set [NodeConformance] [Conformance]
    [sig-storage] Downward API volume should provide node allocatable (memory) as default memory limit if the limit is not set [NodeConformance] [Conformance]
    [sig-storage] Projected downwardAPI should provide node allocatable (cpu) as default cpu limit if the limit is not set [NodeConformance] [Conformance]
    [sig-storage] Projected downwardAPI should provide node allocatable (memory) as default memory limit if the limit is not set [NodeConformance] [Conformance]
    """  # noqa: E501 - titles are facts
    files = storage.files("downward")
    allocatable = storage.room.api("GET", f"/api/v1/nodes/{storage.ended('downward')['spec']['nodeName']}")["status"][
        "allocatable"
    ]
    assert int(files[f"{volume(source, 'free')}/cpu"].text) == quantity.value(allocatable["cpu"])
    assert int(files[f"{volume(source, 'free')}/memory"].text) == quantity.value(allocatable["memory"])


@pytest.mark.parametrize("source", ["downward", "projected-downward"])
def test_files_of_the_downward_api_have_the_mode_of_volume_or_item(storage: Scene, source: str) -> None:
    """
    [sig-storage] Downward API volume should set DefaultMode on files [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] Downward API volume should set mode on item file [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] Projected downwardAPI should set DefaultMode on files [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] Projected downwardAPI should set mode on item file [LinuxOnly] [NodeConformance] [Conformance]
    """
    files = storage.files("downward")
    modes = {shape: files[f"{volume(source, shape)}/podname"].mode for shape in ("all", "mode", "item")}
    assert modes == {"all": 0o644, "mode": 0o400, "item": 0o400}


def test_one_volume_shows_all_that_can_be_projected(storage: Scene) -> None:
    """
    [sig-storage] Projected combined should project all components that make up the projection API [Projection] [NodeConformance] [Conformance]
    """  # noqa: E501 - titles are facts
    assert {path: file.text for path, file in storage.files("combined").items()} == {
        "/all/secret-data": "value-1", "/all/configmap-data": "value-2", "/all/podname": "combined",
        "/all/limits_cpu": CPU_LIMIT, "/all/requests_cpu": "1",
        "/all/limits_memory": MEMORY_LIMIT, "/all/requests_memory": MEMORY_REQUEST,
    }  # fmt: skip


def test_a_subpath_shows_one_file_of_a_volume_over_a_file_of_the_image_too(storage: Scene) -> None:
    """
    [sig-storage] Subpath Atomic writer volumes should support subpaths with configmap pod [Conformance]
    [sig-storage] Subpath Atomic writer volumes should support subpaths with configmap pod with mountPath of existing file [Conformance]
    [sig-storage] Subpath Atomic writer volumes should support subpaths with downward pod [Conformance]
    [sig-storage] Subpath Atomic writer volumes should support subpaths with projected pod [Conformance]
    [sig-storage] Subpath Atomic writer volumes should support subpaths with secret pod [Conformance]
    """  # noqa: E501 - titles are facts
    files = storage.files("subpath")
    contents = {"configmap": "value-1", "secret": "value-1", "projected": "value-1", "downward": "subpath"}
    assert {name: files[f"/sub/{name}"].text for name in SUBPATHS} == contents
    assert "existing: value-2" in storage.lines("subpath")
