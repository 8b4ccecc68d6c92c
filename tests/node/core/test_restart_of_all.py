"""A rule by which one container's end has the whole pod begin anew (KEP-5532)."""

from __future__ import annotations

from typing import Any

from sampan.node.simulated_behaviour import Behaviour

RULE = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}


def add(world: Any) -> str:
    path: str = world.api.add_pod(
        "web",
        restartPolicy="Never",
        initContainers=[
            {"name": "setup", "image": "demo:1"},
            {"name": "side", "image": "demo:1", "restartPolicy": "Always"},
        ],
        containers=[
            {"name": "main", "image": "demo:1", "lifecycle": {"preStop": {"exec": {"command": ["never"]}}}},
            {"name": "watch", "image": "demo:1", "restartPolicyRules": [RULE]},
        ],
    )
    return path


def condition(world: Any, path: str) -> str:
    return str(world.api.condition(path, "AllContainersRestarting"))


def restarts(world: Any, path: str) -> dict[str, int]:
    status = world.api.status(path)
    listed = [*status["initContainerStatuses"], *status["containerStatuses"]]
    return {item["name"]: item["restartCount"] for item in listed}


async def initialize(world: Any, before: str = "") -> str:
    """Lets the init container of this round end."""
    await world.api.until(lambda: world.running("setup") not in ([], [before]))
    [running] = world.running("setup")
    world.runtime.exit_container(running, 0)
    return str(running)


async def test_all_containers_begin_anew_in_the_same_sandbox_when_one_asks_for_it(world: Any) -> None:
    world.runtime.default_behaviour = Behaviour(ignores_term=True)  # what is asked to end takes its two seconds
    path = add(world)
    first = await initialize(world)
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    assert condition(world, path) == "False"
    before = {name: world.running(name) for name in ("main", "side", "watch")}
    [sandbox] = await world.runtime.list_sandboxes()
    ran: list[Any] = []
    world.runtime.exec_handler = lambda container, command: ran.append(command)
    world.runtime.exit_container(before["watch"][0], 42)
    await world.api.until(lambda: condition(world, path) == "True")
    await initialize(world, first)
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True" and condition(world, path) == "False")
    assert all(world.running(name) not in ([], before[name]) for name in before)
    assert restarts(world, path) == {"setup": 1, "side": 1, "main": 1, "watch": 1}
    assert [each.id for each in await world.runtime.list_sandboxes()] == [sandbox.id]
    assert world.api.status(path)["phase"] == "Running"
    # What is ended for the sake of another gets no hook.
    assert ran == []


async def test_another_exit_code_ends_that_container_alone(world: Any) -> None:
    path = add(world)
    await initialize(world)
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    [main], [watch] = world.running("main"), world.running("watch")
    world.runtime.exit_container(watch, 1)
    await world.api.until(lambda: "terminated" in world.api.status(path)["containerStatuses"][1]["state"])
    assert world.running("main") == [main] and not world.running("watch")


async def test_it_happens_again_and_again(world: Any) -> None:
    path = add(world)
    before = ""
    for count in range(3):
        before = await initialize(world, before)
        await world.api.until(lambda: world.api.condition(path, "Ready") == "True" and bool(world.running("watch")))
        assert restarts(world, path)["main"] == count
        world.runtime.exit_container(world.running("watch")[0], 42)
