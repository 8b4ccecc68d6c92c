"""How much swap containers may use, and what of it a resize may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sampan.node.kubeletconfig.reading import BadKubeletConfig
from sampan.node.kubeletconfig.settings import check
from sampan.node.pods.resizing import infeasible
from sampan.node.pods.resources import container_resources
from sampan.node.pods.swap import LIMITED_SWAP, NO_SWAP, Swap

MIB = 1 << 20


def pod(request: str, limit: str = "", policy: str = "NotRequired", **spec: Any) -> Any:
    given: Any = {"requests": {"memory": request}} if request else {}
    if limit:
        given["limits"] = {"memory": limit}
    resize = [{"resourceName": "memory", "restartPolicy": policy}]
    return {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": [{"name": "c", "resources": given, "resizePolicy": resize}], **spec},
    }


def swap_max(made: Any, behaviour: str) -> str:
    swap = Swap(behaviour, 400 * MIB, 1000 * MIB)
    found = container_resources(made, made["spec"]["containers"][0], 0, unified=True, swap=swap)
    return found.unified["memory.swap.max"]


@pytest.mark.parametrize("behaviour", ["", NO_SWAP])
def test_containers_do_not_swap_unless_the_node_says_so(behaviour: str) -> None:
    assert swap_max(pod("100Mi"), behaviour) == "0"


@pytest.mark.parametrize(
    ("made", "mebibytes"),
    [
        (pod("100Mi"), 40),  # a tenth of the memory, a tenth of the swap
        (pod("100Mi", "200Mi"), 40),
        (pod("100Mi", "100Mi"), 0),
        (pod(""), 0),
        (pod("100Mi", priority=2_000_000_000), 0),
    ],
)
def test_with_limited_swap_only_burstable_containers_have_their_share(made: Any, mebibytes: int) -> None:
    assert swap_max(made, LIMITED_SWAP) == str(mebibytes * MIB)


def test_nothing_is_written_where_the_kernel_does_not_bound_swap() -> None:
    made = pod("100Mi")
    assert container_resources(made, made["spec"]["containers"][0], 0, unified=True).unified == {
        "memory.oom.group": "1"
    }


@pytest.mark.parametrize(
    ("behaviour", "policy", "refused"),
    [(LIMITED_SWAP, "NotRequired", True), (LIMITED_SWAP, "RestartContainer", False), (NO_SWAP, "NotRequired", False)],
)
def test_a_container_that_swaps_is_not_resized_in_place(behaviour: str, policy: str, refused: bool) -> None:
    swap = Swap(behaviour, 400 * MIB, 1000 * MIB)
    room = {"memory": 1000 * MIB}
    found = infeasible(pod("200Mi", policy=policy), pod("100Mi", policy=policy), room, swap=swap)
    assert (found is not None) == refused
    if found is not None:
        assert found.message == "In-place resize of containers with swap is not supported."


async def test_a_node_that_cannot_bound_swap_tells_that_limited_swap_is_without_effect(world: Any) -> None:
    await world.stop()
    world.config = replace(world.config, swap_behaviour=LIMITED_SWAP)
    await world.start()
    await world.api.until(lambda: "SwapNotBounded" in world.api.reasons())


def test_another_behaviour_is_refused_by_name() -> None:
    with pytest.raises(BadKubeletConfig, match='must be one of: "", "LimitedSwap" or "NoSwap"'):
        check({"memorySwap": {"swapBehavior": "UnlimitedSwap"}})
