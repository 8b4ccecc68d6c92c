"""One cluster in virtual time, prepared once: each situation happens in a copy of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from situations import Situation

from sampan.node.shapes import parse
from sampan.testing.virtual_cluster import VirtualCluster

NODES = """
nodes:
- {name: node, count: 3, labels: {disk: ssd, topology.kubernetes.io/zone: a}, capacity: {cpu: 4, memory: 8Gi}}
"""


@pytest.fixture(scope="session")
def sampan_virtual_prepared() -> Iterator[VirtualCluster]:
    with VirtualCluster(shapes=parse(NODES), seed=3) as cluster:
        cluster.advance(30)
        yield cluster


@pytest.fixture
def situation(sampan_virtual: VirtualCluster) -> Situation:
    return Situation(sampan_virtual)
