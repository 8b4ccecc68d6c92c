"""Parts of volumes that are named by variables."""

from __future__ import annotations

from typing import Any

from requirement_room import WAITS, Obj, Room, container, is_ready, pod, status_of

NAME = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
ANNOTATION = {"name": "ANNOTATION", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['mysubpath']"}}}


def writes(name: str, script: str, path: str, *env: Any, annotations: dict[str, str] | None = None) -> Obj:
    """A pod with a part of a volume, and the whole of it."""
    mounts = [
        {"name": "work", "mountPath": "/part", "subPathExpr": path}, {"name": "work", "mountPath": "/whole"},
    ]  # fmt: skip
    made = pod(name, container(script, env=list(env), volumeMounts=mounts), volumes=[{"name": "work", "emptyDir": {}}])
    return {**made, "metadata": {**made["metadata"], "annotations": annotations or {}}}


PODS = (
    writes("named", "touch /part/file && ls /whole/named/file", "$(POD_NAME)", NAME),
    writes("absolute", WAITS, "$(WHERE)", {"name": "WHERE", "value": "/tmp"}),
    writes("upwards", WAITS, "$(WHERE)", {"name": "WHERE", "value": ".."}),
    writes("written", WAITS, "$(ANNOTATION)/$(POD_NAME)", NAME, ANNOTATION, annotations={"mysubpath": "here"}),
    writes("mended", WAITS, "$(ANNOTATION)/$(POD_NAME)", NAME, ANNOTATION, annotations={"other": "here"}),
)


def why(found: Obj) -> str:
    reason: str = status_of(found).get("state", {}).get("waiting", {}).get("reason", "")
    return reason


def test_a_variable_names_the_part(room: Room) -> None:
    """Variable Expansion should allow substituting values in a volume subpath"""
    assert room.ended("named")["status"]["phase"] == "Succeeded"
    assert room.log("named") == "/whole/named/file\n"


def test_no_variable_leads_out_of_the_volume(room: Room) -> None:
    """Variable Expansion should fail substituting values in a volume subpath with absolute path; Variable Expansion
    should fail substituting values in a volume subpath with backticks"""
    for name in ("absolute", "upwards"):
        room.until(name, lambda p: why(p) == "CreateContainerConfigError")
        assert not any("running" in status_of(seen).get("state", {}) for _, seen in room.seen[name])


def test_what_is_written_into_the_part_is_in_the_volume_and_goes_with_the_pod(room: Room) -> None:
    """Variable Expansion should succeed in writing subpaths in container"""
    room.ready("written")
    room.run("written", "touch", "/part/file")
    assert room.run("written", "ls", "/whole/here/written")[1] == b"file\n"
    # Its volumes are cleaned up though the variable means something else by now.
    room.api.patch(room.path(name="written"), {"metadata": {"annotations": {"mysubpath": "elsewhere"}}})
    assert room.run("written", "ls", "/part")[1] == b"file\n"
    room.delete("written")
    assert room.gone("written")


def test_a_pod_starts_when_its_part_has_a_name_at_last(room: Room) -> None:
    """Variable Expansion should verify that a failing subpath expansion can be modified during the lifecycle of a
    container [Slow]"""
    room.until("mended", lambda p: why(p) == "CreateContainerConfigError")
    room.api.patch(room.path(name="mended"), {"metadata": {"annotations": {"mysubpath": "here"}}})
    assert is_ready(room.ready("mended"))
    assert room.run("mended", "ls", "/whole/here")[1] == b"mended\n"
