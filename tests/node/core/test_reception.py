"""Between a pod that came and its worker: whatever goes wrong meanwhile, the pod is taken or refused, and only once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from sampan.node.admission import Refusal
from sampan.node.devices.interface import NoDevices
from sampan.node.devices.plan import Unavailable
from sampan.node.numa import Cell
from sampan.node.reception import Agent, Reception
from sampan.node.topology.aligning import Alignment, GivesNothing, HintProvider, Provider, Step
from sampan.node.topology.hints import Hint
from sampan.node.topology.policies import Policy

POD: dict[str, Any] = {
    "metadata": {"uid": "1", "name": "p", "namespace": "ns"}, "spec": {"containers": [{"name": "main"}]},
}  # fmt: skip


NONE = Policy()


class Placed(GivesNothing):
    """Can give every container something, where it says."""

    def __init__(self, found: dict[str, list[Hint]]) -> None:
        self.found, self.given, self.released = found, list[int | None](), list[str]()

    def hints(self, pod: Any, container: Any) -> dict[str, list[Hint]]:
        return self.found

    def allocate(self, pod: Any, container: Any, affinity: int | None) -> None:
        self.given.append(affinity)

    def release(self, uid: str) -> None:
        self.released.append(uid)


class Surroundings(NoDevices):
    """A gate, devices and an agent."""

    def __init__(self, policy: Policy = NONE, providers: Sequence[Provider] = ()) -> None:
        self.steps: list[Step] = []
        self.hints: dict[str, list[Hint]] = {}
        self.taken: list[str] = []
        self.api: dict[str, Any] = {"1": POD}
        self.verdicts: list[Refusal | None] = []
        self.fault: Exception | None = None
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        agent = Agent(
            closed=lambda: None, claiming=list,
            newest=lambda pod: self.api.get(pod["metadata"]["uid"]),
            is_worked_on=self.taken.__contains__, take=lambda pod: self.taken.append(pod["metadata"]["uid"]),
        )  # fmt: skip
        self.reception = Reception(self, self, Alignment(policy, [Cell(id=0), Cell(id=1)], providers), agent)  # type: ignore[arg-type]  # stands in for gate and devices

    def judge(self, pod: Any, others: Any) -> Refusal | None:
        return self.verdicts.pop(0) if self.verdicts else None

    async def look(self) -> None:
        await self._pause()

    def concerns(self, pod: Any) -> bool:
        return True

    async def admit(self, pod: Any, steps: Any = None) -> None:
        await self._pause()
        self.steps += steps or ()
        if self.fault is not None:
            raise self.fault

    def placing(self, nodes: Any) -> HintProvider:
        return Placed(self.hints)

    async def _pause(self) -> None:
        self.asked.set()
        await self.go_on.wait()

    async def come(self, *meanwhile: Any) -> None:
        async with asyncio.TaskGroup() as group:
            self.reception.group = group
            self.reception.come(POD)
            self.reception.come(POD)
            await self.asked.wait()
            for each in meanwhile:
                each()
            self.go_on.set()


async def test_a_pod_has_its_part_while_it_is_looked_at_and_is_taken_once() -> None:
    world = Surroundings()
    seen: list[Any] = []
    await world.come(lambda: seen.append((set(world.reception.looking), dict(world.reception.equipping))))
    assert seen == [({"1"}, {"1": POD})] and world.taken == ["1"]
    assert not (world.reception.looking or world.reception.equipping or world.reception.refused)


@pytest.mark.logs_errors("devices of pod p_ns")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Unavailable("none is left"), "Allocate failed due to none is left, which is unexpected"),
        (RuntimeError("ours"), "Unexpected error while attempting to admit pod: internal error"),
    ],
)
async def test_a_pod_that_cannot_be_equipped_is_refused_whatever_the_fault(fault: Exception, message: str) -> None:
    world = Surroundings()
    world.fault = fault
    await world.come()
    assert world.taken == ["1"]
    assert world.reception.refused == {"1": Refusal("UnexpectedAdmissionError", message)}


@pytest.mark.parametrize("verdicts", [[], [Refusal("NodeAffinity", "labels")]])
async def test_a_pod_that_went_or_has_a_worker_meanwhile_is_not_taken(verdicts: list[Refusal | None]) -> None:
    world = Surroundings()
    world.verdicts = list(verdicts)
    await world.come(world.api.clear)
    assert world.taken == []
    world = Surroundings()
    world.verdicts = list(verdicts)
    await world.come(lambda: world.taken.append("1"))
    assert world.taken == ["1"]


async def test_devices_come_from_where_the_processors_do_or_the_pod_is_refused_and_keeps_nothing() -> None:
    cpus = Placed({"cpu": [Hint(0b01, True), Hint(0b10, True)]})
    world = Surroundings(Policy("single-numa-node"), [cpus])
    world.hints = {"toy": [Hint(0b10, True)]}
    await world.come(lambda: cpus.given.append(-1))
    # Nothing is given before the devices' turn, and then from one node.
    assert (cpus.given, world.steps, world.taken) == ([-1, 0b10], [Step("main", 0b10)], ["1"])
    assert not (world.reception.refused or cpus.released)
    cpus.found = {"cpu": [Hint(0b01, True)]}
    world.taken.clear()
    world.steps.clear()
    await world.come()
    assert world.reception.refused["1"].reason == "TopologyAffinityError"
    assert (world.steps, world.taken, set(cpus.released)) == ([], ["1"], {"1"})


@pytest.mark.logs_errors("devices of pod p_ns")
@pytest.mark.parametrize("policy", [NONE, Policy("best-effort")], ids=["none", "best-effort"])
@pytest.mark.parametrize("fault", [Unavailable("none is left"), RuntimeError("ours")], ids=["taken", "ours"])
async def test_a_pod_whose_devices_failed_leaves_its_processors_to_others(fault: Exception, policy: Policy) -> None:
    cpus = Placed({})
    world = Surroundings(policy, [cpus])
    world.fault = fault
    await world.come()
    assert world.reception.refused["1"].reason == "UnexpectedAdmissionError"
    assert cpus.given and set(cpus.released) == {"1"}
