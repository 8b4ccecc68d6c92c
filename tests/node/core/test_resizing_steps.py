"""The order in which a resize is written: at no moment is a container allowed more than its pod."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sampan.api.pods.requests import pod_limit, pod_requests
from sampan.node.cgroups import settings
from sampan.node.cgroups.held import Held
from sampan.node.pods.resizing_steps import Change, WriteContainer, WritePod, plan_steps, too_low
from sampan.node.pods.resources import container_resources

MIB = 1 << 20


def pod(sizes: list[tuple[int, int]]) -> Any:
    """Of containers with so many millicores and mebibytes."""
    containers = []
    for number, (millicores, mebibytes) in enumerate(sizes):
        given = {"cpu": f"{millicores}m", "memory": f"{mebibytes}Mi"}
        containers.append({"name": f"c{number}", "resources": {"requests": given, "limits": given}})
    return {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": containers}}


def changes(before: Any, after: Any) -> list[Change]:
    pairs = zip(before["spec"]["containers"], after["spec"]["containers"], strict=True)
    return [
        Change(had["name"], had["name"], container_resources(before, had, 0), container_resources(after, has, 0))
        for had, has in pairs
    ]


def whole(made: Any) -> dict[str, int]:
    return {
        "memory limit": pod_limit(made, "memory") or 0,
        "cpu limit": settings.quota(pod_limit(made, "cpu") or 0),
        "cpu request": settings.shares(pod_requests(made, use_status=False)["cpu"]),
    }


@pytest.mark.parametrize("seed", range(20))
def test_no_step_lets_a_container_have_more_than_its_pod(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        count = chance.randint(1, 4)
        before, after = (
            pod([(chance.randint(10, 4000), chance.randint(4, 4096)) for _ in range(count)]) for _ in range(2)
        )
        planned = changes(before, after)
        now, target = whole(before), whole(after)
        has = {change.container_id: change.before for change in planned}
        for step in plan_steps(before, after, planned):
            if isinstance(step, WritePod):
                now[step.part] = target[step.part]
            else:
                has[step.container_id] = step.resources
            assert max(each.memory_limit_bytes for each in has.values()) <= now["memory limit"]
            assert max(each.cpu_quota for each in has.values()) <= now["cpu limit"]
        assert now == target and has == {change.container_id: change.after for change in planned}


def test_memory_is_written_before_the_processor_and_the_last_write_of_a_container_says_so() -> None:
    before, after = pod([(100, 64), (100, 64)]), pod([(200, 32), (50, 128)])
    written = [step for step in plan_steps(before, after, changes(before, after)) if isinstance(step, WriteContainer)]
    # What gives something back goes first.
    assert [(step.container_id, step.last) for step in written] == [
        ("c0", False), ("c1", False), ("c1", True), ("c0", True),
    ]  # fmt: skip
    assert written[0].resources.cpu_quota == 10_000 and written[0].resources.memory_limit_bytes == 32 * MIB


def test_of_memory_in_use_each_container_and_the_pod_are_told() -> None:
    before, after = pod([(100, 64), (100, 64)]), pod([(100, 32), (100, 64)])
    held = {"": Held(memory_usage_bytes=40 * MIB), "c0": Held(memory_usage_bytes=32 * MIB)}
    assert too_low(before, after, changes(before, after), held) == (
        'cannot decrease memory limits: attempting to set container "c0" memory limit (33554432) below current usage '
        "(33554432)"
    )
    assert too_low(before, after, changes(before, after), {}) == ""
    assert too_low(after, before, changes(after, before), held) == ""
