"""The parts of a node agent: one that fails comes back alone, and neither pods nor the other parts notice."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.logs_errors("failed; it is started again")

PARTS = (
    "informers",
    "objects",
    "volumes",
    "events",
    "registration",
    "runtime-events",
    "relist",
    "image-gc",
    "eviction",
    "shutdown",
)


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_that_fails_comes_back_alone_and_pods_go_on(faults: Any, world: Any, part: str) -> None:
    first = world.api.add_pod("first")
    await world.api.until(lambda: world.api.condition(first, "Ready") == "True")
    containers = world.running()
    faults.strike(part)
    await faults.back(part)
    later = world.api.add_pod("later")
    await world.api.until(lambda: world.api.condition(later, "Ready") == "True")
    assert {name: lives for name, lives in faults.lives.items() if lives > 1 and "/" not in name} == {part: 2}
    # Exits are still heard of, and what ran was not touched.
    assert set(containers) <= set(world.running())
    world.runtime.exit_container(containers[0], 1)
    await world.api.until(lambda: world.api.status(first)["containerStatuses"][0]["restartCount"] == 1)
