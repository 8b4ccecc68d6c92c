"""A pod's containers are given processors close together, all or none, with devices asked in between."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.node.admission import Refusal
from sampan.node.numa import Cell
from sampan.node.topology.aligning import Alignment, GivesNothing, Refused, Step
from sampan.node.topology.hints import Hint
from sampan.node.topology.policies import Policy

Obj = dict[str, Any]
POD: Obj = {
    "metadata": {"uid": "1", "name": "p"},
    "spec": {
        "initContainers": [{"name": "first"}],
        "containers": [{"name": "main"}],
        "ephemeralContainers": [{"name": "e"}],
    },
}
CELLS = [Cell(id=0), Cell(id=1)]


class Given(GivesNothing):
    """Each container fits on one node only: ``where``, by name. ``refuses`` is none of them."""

    def __init__(self, where: dict[str, int], refuses: str = "") -> None:
        self.where, self.refuses = where, refuses
        self.given: dict[str, int | None] = {}
        self.released: list[str] = []

    def hints(self, pod: Obj, container: Obj) -> dict[str, list[Hint]]:
        return {"cpu": [Hint(1 << self.where[container["name"]], True)]}

    def pod_hints(self, pod: Obj) -> dict[str, list[Hint]]:
        return {"cpu": [Hint(0b10, True)]}

    def allocate(self, pod: Obj, container: Obj, affinity: int | None) -> None:
        if container["name"] == self.refuses:
            raise Refused(Refusal("Full", "nothing left"))
        self.given[container["name"]] = affinity

    def release(self, uid: str) -> None:
        self.released.append(uid)


def test_each_container_is_aligned_by_itself_or_all_of_the_pod_together() -> None:
    provider = Given({"first": 0, "main": 1})
    assert list(Alignment(Policy("restricted"), CELLS, [provider]).steps(POD)) == [Step("first", 1), Step("main", 2)]
    assert provider.given == {"first": 1, "main": 2} and not provider.released
    assert list(Alignment(Policy("restricted", "pod"), CELLS, [provider]).steps(POD)) == [
        Step("first", 2), Step("main", 2),
    ]  # fmt: skip


def test_without_a_policy_everything_is_given_from_anywhere() -> None:
    provider = Given({})
    assert Alignment(Policy(), CELLS, [provider]).admit(POD) is None
    assert provider.given == {"first": None, "main": None}


@pytest.mark.parametrize("scope", ["container", "pod"])
def test_what_does_not_lie_together_is_refused_in_the_kubelets_words_and_nothing_is_kept(scope: Any) -> None:
    provider, devices = Given({"first": 1, "main": 1}), Given({"first": 1, "main": 0})
    devices.pod_hints = lambda pod: {"toy": [Hint(0b01, True)]}  # type: ignore[method-assign]
    alignment = Alignment(Policy("single-numa-node", scope), CELLS, [provider])
    with pytest.raises(Refused) as caught:
        list(alignment.steps(POD, devices))
    assert caught.value.refusal == Refusal(
        "TopologyAffinityError", "Resources cannot be allocated with Topology locality"
    )
    assert provider.released == ["1"]


def test_a_provider_that_refuses_one_container_leaves_the_pod_nothing() -> None:
    provider = Given({"first": 0, "main": 0}, refuses="main")
    assert Alignment(Policy("best-effort"), CELLS, [provider]).admit(POD) == Refusal("Full", "nothing left")
    assert provider.released == ["1"]


def test_a_pod_whose_devices_failed_halfway_keeps_no_processors() -> None:
    provider = Given({"first": 0, "main": 0})
    steps = Alignment(Policy("best-effort"), CELLS, [provider]).steps(POD)
    assert next(steps) == Step("first", 1)
    steps.close()
    assert provider.released == ["1"]
