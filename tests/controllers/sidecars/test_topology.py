"""Where volumes are asked for: between labels of nodes, what a class allows and what a driver says; and its room."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api.resources import CSI_STORAGE_CAPACITIES, STORAGE_CLASSES
from sampan.sidecars import topology
from sampan.sidecars.capacity import CapacityPublisher
from sampan.sidecars.topology import NodeTopology, NoTopology
from sampan.testing import virtual

Obj = dict[str, Any]
X, Y, Z = ((("zone", each),) for each in "xyz")
EVERYWHERE = [NodeTopology("a", X), NodeTopology("b", Y), NodeTopology("c", Y)]
ONLY_Y = {"allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["y"]}]}]}


def zones(found: Any) -> str:
    return "".join(each.segments["zone"] for each in found)


@pytest.mark.parametrize(
    ("selected", "storage_class", "strict", "requisite", "preferred"),
    [
        (EVERYWHERE[1], {}, False, "xy", "yx"),
        (EVERYWHERE[1], {}, True, "y", "y"),
        (EVERYWHERE[1], ONLY_Y, False, "y", "y"),
        (None, ONLY_Y, False, "y", "y"),
        (None, {}, False, "xy", None),
    ],
)
def test_what_is_required_and_what_is_preferred(
    selected: Any, storage_class: Obj, strict: bool, requisite: str, preferred: str | None
) -> None:
    found = topology.requirement(EVERYWHERE, storage_class, selected, "pvc", strict=strict)
    assert zones(found.requisite) == requisite
    assert preferred is None or zones(found.preferred) == preferred
    again = topology.requirement(EVERYWHERE, storage_class, selected, "pvc", strict=strict)
    assert again == found, "the same claim asks for the same"


@pytest.mark.parametrize("strict", [True, False])
def test_a_node_that_the_class_does_not_allow_is_refused(strict: bool) -> None:
    with pytest.raises(NoTopology, match="is not in the class's allowed topologies"):
        topology.requirement(EVERYWHERE, ONLY_Y, EVERYWHERE[0], "pvc", strict=strict)


def test_a_driver_without_topologies_asks_for_nothing() -> None:
    assert topology.requirement([], {}, None, "pvc", strict=False) is None


def test_combinations_of_what_a_class_allows() -> None:
    expressions = [{"key": "zone", "values": ["x", "y"]}, {"key": "disk", "values": ["fast"]}]
    found = topology.allowed({"allowedTopologies": [{"matchLabelExpressions": expressions}]})
    assert found == [(("disk", "fast"), ("zone", "x")), (("disk", "fast"), ("zone", "y"))]


def test_room_is_published_for_each_class_and_place_and_taken_back(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        for name, zone in (("a", "x"), ("b", "y"), ("c", "y")):
            world.node(name, zone)
        world.storage_class()
        world.api.add(STORAGE_CLASSES, {"metadata": {"name": "theirs"}, "provisioner": "other"})
        context = world.context
        owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
        config = world.config(namespace="driver", owner=owner)
        publisher = CapacityPublisher(context.client_for("x"), context.informers, world.learned(), config)
        async with run_with(context, publisher):
            await asyncio.sleep(5)
            found = world.api.all(CSI_STORAGE_CAPACITIES)
            assert sorted(each["nodeTopology"]["matchLabels"]["topology.d.example/zone"] for each in found) == [
                "x",
                "y",
            ]
            assert {(each["storageClassName"], each["capacity"]) for each in found} == {("fast", "5Gi")}
            assert found[0]["metadata"]["labels"] == {
                "csi.storage.k8s.io/drivername": "d.example",
                "csi.storage.k8s.io/managed-by": "external-provisioner",
            }
            assert found[0]["metadata"]["ownerReferences"] == [owner]
            before = [each["metadata"]["resourceVersion"] for each in found]
            await asyncio.sleep(300)
            found = world.api.all(CSI_STORAGE_CAPACITIES)
            assert [each["metadata"]["resourceVersion"] for each in found] == before, "nothing has changed"
            world.api.remove(STORAGE_CLASSES, "", "fast")
            await asyncio.sleep(5)
            assert not world.api.all(CSI_STORAGE_CAPACITIES)

    virtual.run(main())
