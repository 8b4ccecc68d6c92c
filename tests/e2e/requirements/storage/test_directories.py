"""emptyDir, on disk and in memory, and the volumes that are built on one."""

from __future__ import annotations

import pytest
from e2e_harness import eventually
from e2e_scenes import Scene
from storage_scene import RACING, SHARED, USER, WRITTEN_MODES

MEDIA = ("default", "tmpfs")


@pytest.mark.parametrize("medium", MEDIA)
def test_a_directory_is_open_to_everybody_and_of_its_medium(storage: Scene, medium: str) -> None:
    """
    [sig-storage] EmptyDir volumes volume on default medium should have the correct mode [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes volume on tmpfs should have the correct mode [LinuxOnly] [NodeConformance] [Conformance]
    """  # noqa: E501 - titles are facts
    for name in ("directories-root", "directories-user"):
        (line,) = (line for line in storage.lines(name) if line.startswith(f"directory|{medium}|"))
        _, _, mode, filesystem = line.split("|")
        assert mode == "777"
        assert (filesystem == "tmpfs") == (medium == "tmpfs")


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("name", ["directories-root", "directories-user"])
def test_files_that_a_pod_makes_have_its_user_and_the_mode_it_gives(storage: Scene, name: str, medium: str) -> None:
    """
    [sig-storage] EmptyDir volumes should support (root,0644,default) [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes should support (root,0644,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes should support (root,0666,default) [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes should support (root,0666,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes should support (root,0777,default) [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes should support (root,0777,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes should support (non-root,0644,default) [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes should support (non-root,0644,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes should support (non-root,0666,default) [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes should support (non-root,0666,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes should support (non-root,0777,default) [LinuxOnly] [NodeConformance] [Conformance]
    [sig-storage] EmptyDir volumes should support (non-root,0777,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]
    """
    files = storage.files(name)
    user = USER if name == "directories-user" else 0
    for mode in WRITTEN_MODES:
        found = files[f"/v/{medium}/{mode:o}"]
        assert (found.text, found.mode, found.uid) == ("written\n", mode, user)


def test_containers_of_a_pod_share_a_directory(storage: Scene) -> None:
    """[sig-storage] EmptyDir volumes pod should support shared volumes between containers [Conformance]"""
    assert storage.lines("shared") == [SHARED]


def test_a_secret_and_a_config_map_stand_beside_each_other(storage: Scene) -> None:
    """[sig-storage] EmptyDir wrapper volumes should not conflict [Conformance]"""
    files = storage.files("wrappers")
    assert files["/etc/secret-volume/data-1"].text == files["/etc/configmap-volume/data-1"].text == "value-1"


def test_many_volumes_of_many_pods_are_set_up_beside_each_other(storage: Scene) -> None:
    """
    [sig-storage] EmptyDir wrapper volumes should not cause race condition when used for configmaps [Serial] [Conformance]
    """  # noqa: E501 - titles are facts
    room = storage.room

    def replicas() -> list[str]:
        listed = room.api("GET", room.path(), labelSelector="scene=racing")["items"]
        return [each["metadata"]["name"] for each in listed] if len(listed) == 5 else []

    for name in eventually(replicas):
        storage.ready(name)
        files = storage.files_now(name, "/v")
        assert {path: file.text for path, file in files.items()} == {
            f"/v/racing-{number}/data-1": f"racing-{number}" for number in range(RACING)
        }
