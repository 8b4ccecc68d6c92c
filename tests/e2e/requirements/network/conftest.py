"""One room for all requirements of the network: its pods are created at once, and live as long as the tests run."""

from __future__ import annotations

from collections.abc import Iterator

import network_scene
import pytest
from e2e_harness import Cluster
from network_scene import Network
from requirement_room import Room, open_room


@pytest.fixture(scope="package")
def network(cluster: Cluster) -> Iterator[Network]:
    with open_room(cluster) as room:
        for made in network_scene.objects():
            room.create(made)
        yield Network(room)


@pytest.fixture
def room(network: Network) -> Room:
    return network.room
