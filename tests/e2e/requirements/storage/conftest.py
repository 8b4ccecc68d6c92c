"""One room for all requirements of storage: its pods are created at once, and live as long as the tests run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import storage_scene
from e2e_harness import Cluster
from e2e_scenes import Scene
from requirement_room import open_room, secret


@pytest.fixture(scope="package")
def storage(cluster: Cluster) -> Iterator[Scene]:
    with open_room(cluster) as room, open_room(cluster) as other:
        other.create(secret("data", **{"data-1": "of another namespace"}))
        for made in storage_scene.objects():
            room.create(made)
        controller = storage_scene.racing()
        room.api("POST", room.path("replicationcontrollers"), controller)
        yield Scene(room, cluster)
