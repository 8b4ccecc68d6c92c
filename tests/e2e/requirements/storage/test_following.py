"""Volumes follow what they show while the pod runs: new contents, keys and objects that come and go."""

from __future__ import annotations

import pytest
from e2e_harness import eventually
from e2e_scenes import File, Scene
from storage_scene import SOURCES, followed_object


@pytest.fixture(scope="module")
def before(storage: Scene) -> dict[str, File]:
    """What the pod saw when it began; all that is followed is changed after that, at once."""
    room = storage.room
    storage.ready("followed")
    found = storage.files_now("followed", "/v")
    for source in SOURCES:
        for name, data in (("update", {"data-1": "value-2"}), ("optional-update", {"data-3": "value-3"})):
            changed = followed_object(source, name, data)
            room.api("PUT", room.path(plural(source), changed["metadata"]["name"]), changed)
        room.api("DELETE", room.path(plural(source), f"{source}-optional-delete"))
        room.create(followed_object(source, "optional-create", {"data-1": "value-1"}))
    room.api.patch(
        room.path("pods", "followed"), {"metadata": {"labels": {"key3": "value3"}, "annotations": {"builder": "foo"}}}
    )
    return found


def plural(source: str) -> str:
    return "configmaps" if source.endswith("configmap") else "secrets"


def inside(files: dict[str, File], volume: str) -> dict[str, str]:
    start = f"/v/{volume}/"
    return {path.removeprefix(start): file.text for path, file in files.items() if path.startswith(start)}


def becomes(storage: Scene, volume: str, wanted: dict[str, str]) -> None:
    eventually(lambda: inside(storage.files_now("followed", f"/v/{volume}"), volume) == wanted, every=0.3)


@pytest.mark.parametrize("source", SOURCES)
def test_new_contents_are_in_the_volume(storage: Scene, before: dict[str, File], source: str) -> None:
    """
    [sig-storage] ConfigMap updates should be reflected in volume [NodeConformance] [Conformance]
    [sig-storage] Projected configMap updates should be reflected in volume [NodeConformance] [Conformance]
    """
    assert inside(before, f"{source}-update") == {"data-1": "value-1"}
    becomes(storage, f"{source}-update", {"data-1": "value-2"})


@pytest.mark.parametrize("source", SOURCES)
def test_optional_objects_and_their_keys_come_and_go(storage: Scene, before: dict[str, File], source: str) -> None:
    """
    [sig-storage] ConfigMap optional updates should be reflected in volume [NodeConformance] [Conformance]
    [sig-storage] Projected configMap optional updates should be reflected in volume [NodeConformance] [Conformance]
    [sig-storage] Secrets optional updates should be reflected in volume [NodeConformance] [Conformance]
    [sig-storage] Projected secret optional updates should be reflected in volume [NodeConformance] [Conformance]
    """
    first = {name: inside(before, f"{source}-optional-{name}") for name in ("update", "delete", "create")}
    assert first == {"update": {"data-1": "value-1"}, "delete": {"data-1": "value-1"}, "create": {}}
    becomes(storage, f"{source}-optional-update", {"data-3": "value-3"})
    becomes(storage, f"{source}-optional-delete", {})
    becomes(storage, f"{source}-optional-create", {"data-1": "value-1"})


@pytest.mark.parametrize("source", ["downward", "projected-downward"])
def test_labels_and_annotations_are_the_pods_of_now(storage: Scene, before: dict[str, File], source: str) -> None:
    """
    [sig-storage] Downward API volume should update labels on modification [NodeConformance] [Conformance]
    [sig-storage] Downward API volume should update annotations on modification [NodeConformance] [Conformance]
    [sig-storage] Projected downwardAPI should update labels on modification [NodeConformance] [Conformance]
    [sig-storage] Projected downwardAPI should update annotations on modification [NodeConformance] [Conformance]
    """
    first = inside(before, source)
    assert first["labels"] == 'key1="value1"'
    assert 'builder="bar"' in first["annotations"].splitlines()

    def follows() -> bool:
        now = inside(storage.files_now("followed", f"/v/{source}"), source)
        return now["labels"] == 'key1="value1"\nkey3="value3"' and 'builder="foo"' in now["annotations"].splitlines()

    eventually(follows, every=0.3)
