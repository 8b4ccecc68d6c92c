"""How long kubelets may keep what they read: longer in a larger cluster."""

import pytest

from sampan.api.resources import NODES
from sampan.controllers.node.ttl import ANNOTATION, TtlController, next_step, seconds_of


@pytest.mark.parametrize(
    ("step", "nodes", "seconds"),
    [
        (0, 1, 0), (0, 100, 0), (0, 101, 15), (1, 90, 15), (1, 89, 0), (1, 501, 30), (2, 450, 30), (2, 449, 15),
        (2, 1001, 60), (3, 900, 60), (3, 899, 30), (3, 2001, 300), (4, 1800, 300), (4, 1799, 60), (0, 5000, 300),
    ],
)  # fmt: skip
def test_seconds_by_size_with_overlapping_steps(step, nodes, seconds):
    assert seconds_of(next_step(step, nodes)) == seconds


async def test_nodes_are_annotated_and_hear_of_a_larger_cluster_with_their_next_change(api, context, running, wait):
    async with running(TtlController(context)):
        api.add(NODES, {"metadata": {"name": "first"}})
        await wait.quiet(api)
        assert api.get(NODES, "", "first")["metadata"]["annotations"] == {ANNOTATION: "0"}
        for number in range(100):
            api.add(NODES, {"metadata": {"name": f"n{number}"}})
        await wait.quiet(api)
        assert api.get(NODES, "", "n99")["metadata"]["annotations"] == {ANNOTATION: "15"}
        api.change(NODES, "", "first", lambda obj: obj.update(status={"phase": ""}))
        await wait.quiet(api)
    assert api.get(NODES, "", "first")["metadata"]["annotations"] == {ANNOTATION: "15"}
