"""Classes of attributes: what the driver is asked, and what the claim says meanwhile."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from sampan.api.resources import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.sidecars import modification
from sampan.sidecars.config import RESIZER
from sampan.sidecars.main import serve
from sampan.sidecars.modification import Step
from sampan.sidecars.modifier import Modifier
from sampan.testing import virtual

Obj = dict[str, Any]
ID = "id-pvc-uid-data"


def bound(world: Any, wanted: str = "gold", has: str = "silver", **status: Any) -> None:
    world.attributes_class("gold")
    world.attributes_class("silver")
    world.claim(volumeName="pvc-uid-data", **({"volumeAttributesClassName": wanted} if wanted else {}))
    new = {"phase": "Bound", **({"currentVolumeAttributesClassName": has} if has else {}), **status}
    world.api.change(PERSISTENT_VOLUME_CLAIMS, "ns", "data", lambda claim: claim.update(status=new))
    spec = {
        "csi": {"driver": "d.example", "volumeHandle": ID},
        "claimRef": {"namespace": "ns", "name": "data", "uid": "uid-data"},
        **({"volumeAttributesClassName": has} if has else {}),
    }
    world.api.add(PERSISTENT_VOLUMES, {"metadata": {"name": "pvc-uid-data"}, "spec": spec})


def modifier(world: Any, **config: Any) -> Modifier:
    context = world.context
    return Modifier(context.client_for("x"), context.informers, world.learned(), world.config(**config), context.clock)


def ask_for(world: Any, name: str) -> None:
    def change(claim: Obj) -> None:
        claim["spec"]["volumeAttributesClassName"] = name

    world.api.change(PERSISTENT_VOLUME_CLAIMS, "ns", "data", change)


def asked(world: Any) -> list[str]:
    return [request.mutable_parameters["is"] for _, request in world.driver.requests]


def told(world: Any, kind: str = "Normal") -> list[str]:
    return [each["reason"] for each in world.api.all(EVENTS) if each["type"] == kind]


def is_done(world: Any, name: str) -> None:
    status = world.get_claim()["status"]
    assert status["currentVolumeAttributesClassName"] == name
    assert not status.get("modifyVolumeStatus") and not status.get("conditions")
    assert world.volume()["spec"]["volumeAttributesClassName"] == name
    assert world.driver.attributes[ID]["is"] == name


@pytest.mark.parametrize("fault", ["", "lost", "hung", "Unavailable", "Internal"])
def test_the_driver_changes_the_volume_and_the_claim_says_how_far_it_is(
    new_world: Any, run_with: Any, fault: str
) -> None:
    async def main() -> None:
        world = new_world()
        world.driver.faults = [fault] if fault else []
        bound(world)
        async with run_with(world.context, modifier(world)):
            if fault in ("lost", "hung"):
                await asyncio.sleep(0.5)
                status = world.get_claim()["status"]
                target = {"status": "InProgress", "targetVolumeAttributesClassName": "gold"}
                assert status["modifyVolumeStatus"] == target
                [condition] = status["conditions"]
                assert (condition["type"], condition["status"]) == ("ModifyingVolume", "True")
                assert condition["message"] == "ModifyVolume operation in progress."
                assert world.volume()["spec"]["volumeAttributesClassName"] == "silver"
            await asyncio.sleep(60)
        is_done(world, "gold")
        assert asked(world) == ["gold"] * (2 if fault else 1)
        assert told(world) == ["VolumeModify", "VolumeModifySuccessful"]
        assert told(world, "Warning") == (["VolumeModifyFailed"] if fault else [])

    virtual.run(main())


def test_a_first_class_is_given_to_a_volume_that_had_none(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        bound(world, has="")
        async with run_with(world.context, modifier(world, extra_modify_metadata=True)):
            await asyncio.sleep(5)
        is_done(world, "gold")
        names = {"pvc/name": "data", "pvc/namespace": "ns", "pv/name": "pvc-uid-data"}
        extra = {f"csi.storage.k8s.io/{key}": name for key, name in names.items()}
        assert world.driver.attributes[ID] == {"is": "gold", **extra}

    virtual.run(main())


def test_what_is_refused_is_infeasible_and_another_class_is_tried_at_once(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.driver.faults = ["InvalidArgument", "InvalidArgument"]
        bound(world)
        async with run_with(world.context, modifier(world)):
            await asyncio.sleep(290)
            assert asked(world) == ["gold"]
            status = world.get_claim()["status"]
            target = {"status": "Infeasible", "targetVolumeAttributesClassName": "gold"}
            assert status["modifyVolumeStatus"] == target
            [condition] = status["conditions"]
            words = "rpc error: code = InvalidArgument desc = as it happens"
            assert condition["type"] == "ModifyVolumeError"
            assert condition["message"] == f"ModifyVolume failed with error: {words}. Waiting for retry."
            await asyncio.sleep(20)
            assert asked(world) == ["gold", "gold"], "after five minutes it may be feasible"
            ask_for(world, "silver")
            await asyncio.sleep(1)
        is_done(world, "silver")

    virtual.run(main())


def test_a_class_that_comes_later_is_waited_for(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        bound(world, wanted="bronze")
        async with run_with(world.context, modifier(world)):
            await asyncio.sleep(600)
            assert not world.driver.requests
            assert world.get_claim()["status"]["modifyVolumeStatus"]["status"] == "Pending"
            [event] = world.api.all(EVENTS)
            assert (event["reason"], event["message"]) == ("VolumeModifyFailed", 'VAC "bronze" does not exist.')
            world.attributes_class("bronze")
            await asyncio.sleep(1)
        is_done(world, "bronze")

    virtual.run(main())


def test_a_class_of_another_driver_is_not_for_this_one(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        bound(world, wanted="theirs")
        world.attributes_class("theirs", "other.example")
        async with run_with(world.context, modifier(world)):
            await asyncio.sleep(5)
        assert not world.driver.requests
        assert world.get_claim()["status"]["modifyVolumeStatus"]["status"] == "Infeasible"

    virtual.run(main())


def test_a_claim_is_told_that_its_driver_changes_no_volumes(new_world: Any) -> None:
    """As upstream: the driver is asked, whatever it says it can, and its answer is the claim's."""

    async def main() -> None:
        world = new_world()
        world.driver.faults = ["Unimplemented"] * 1000
        bound(world, capacity={"storage": "1Gi"})
        context, driver = world.context, world.learned()
        assert "MODIFY_VOLUME" not in driver.controller
        config = world.config(roles=frozenset({RESIZER}))
        running = asyncio.create_task(serve(config, context.client_for("x"), driver, context.clock, context.random))
        await asyncio.sleep(600)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        [condition] = world.get_claim()["status"]["conditions"]
        words = "rpc error: code = Unimplemented desc = as it happens"
        assert condition["type"] == "ModifyVolumeError"
        assert condition["message"] == f"ModifyVolume failed with error: {words}. Waiting for retry."
        assert {each["message"] for each in world.api.all(EVENTS) if each["type"] == "Warning"} == {words}
        assert world.volume()["spec"]["volumeAttributesClassName"] == "silver"
        assert 1 < world.driver.count("ControllerModifyVolume") < 40

    virtual.run(main())


@pytest.mark.parametrize(("fault", "next_one"), [("hung", "gold"), ("Internal", "silver")])
def test_a_question_without_an_answer_is_asked_again_before_another(
    new_world: Any, run_with: Any, fault: str, next_one: str
) -> None:
    """A volume that may be half way to a class gets there first; one that was refused it need not."""

    async def main() -> None:
        world = new_world()
        world.driver.faults = [fault] * 12
        bound(world)
        async with run_with(world.context, modifier(world)):
            await asyncio.sleep(3)
            before = len(asked(world))
            assert set(asked(world)) == {"gold"}
            ask_for(world, "silver")
            await asyncio.sleep(0.01 if fault == "Internal" else 3)
            assert asked(world)[before] == next_one
            world.driver.faults = []
            await asyncio.sleep(300)
        is_done(world, "silver")

    virtual.run(main())


def test_what_a_killed_sidecar_began_is_ended_first(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        begun = {"status": "InProgress", "targetVolumeAttributesClassName": "gold"}
        bound(world, wanted="silver", modifyVolumeStatus=begun)
        async with run_with(world.context, modifier(world)):
            await asyncio.sleep(5)
        assert asked(world) == ["gold", "silver"]
        is_done(world, "silver")

    virtual.run(main())


def test_volumes_of_others_are_left_alone(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        bound(world)
        other = {"driver": "other", "volumeHandle": "x"}
        world.api.change(PERSISTENT_VOLUMES, "", "pvc-uid-data", lambda volume: volume["spec"].update(csi=other))
        async with run_with(world.context, modifier(world)):
            await asyncio.sleep(5)
        assert not world.driver.requests and not world.api.all(EVENTS)

    virtual.run(main())


@pytest.mark.parametrize("seed", range(8))
def test_in_the_end_the_volume_is_as_the_claim_wants_it(new_world: Any, run_with: Any, seed: int) -> None:
    """Whatever is lost on the way, however often its user changes his mind and the sidecar is killed."""

    async def main() -> None:
        world, chance = new_world(), random.Random(seed)
        world.driver.random, world.driver.chance = random.Random(seed + 100), 0.5
        bound(world)
        for _ in range(6):
            async with run_with(world.context, modifier(world)):
                for _ in range(3):
                    ask_for(world, chance.choice(["gold", "silver"]))
                    await asyncio.sleep(chance.choice([0.0, 0.01, 0.7, 4]))
        world.driver.chance = 0.0
        async with run_with(world.context, modifier(world)):
            await asyncio.sleep(2000)
        is_done(world, world.get_claim()["spec"]["volumeAttributesClassName"])

    virtual.run(main())


def claim_of(wanted: str, has: str, status: str, target: str, *conditions: str) -> Obj:
    modifying = {"modifyVolumeStatus": {"status": status, "targetVolumeAttributesClassName": target}} if status else {}
    told_of = [{"type": each, "status": "True"} for each in conditions]
    state = {"phase": "Bound", "currentVolumeAttributesClassName": has, "conditions": told_of, **modifying}
    return {"metadata": {}, "spec": {"volumeAttributesClassName": wanted}, "status": state}


@pytest.mark.parametrize(
    ("claim", "unsure", "step"),
    [
        (claim_of("a", "a", "", ""), True, Step("nothing")),
        (claim_of("", "", "", ""), True, Step("nothing")),
        (claim_of("b", "a", "", ""), True, Step("start", "b")),
        (claim_of("b", "a", "Pending", "b"), True, Step("start", "b")),
        (claim_of("b", "a", "InProgress", "b"), True, Step("repeat", "b")),
        (claim_of("c", "a", "InProgress", "b"), True, Step("repeat", "b")),
        (claim_of("c", "a", "InProgress", "b"), False, Step("start", "c")),
        (claim_of("a", "a", "Infeasible", "b"), False, Step("start", "a")),
        (claim_of("", "", "InProgress", "b"), False, Step("repeat", "b")),
        (claim_of("", "", "Infeasible", "b"), False, Step("nothing")),
        (claim_of("", "", "Pending", "b", "ModifyingVolume"), False, Step("cancel")),
    ],
)
def test_the_next_step_follows_from_claim_and_doubt(claim: Obj, unsure: bool, step: Step) -> None:
    assert modification.plan(claim, unsure=unsure) == step
