"""What a node does at the ends of pods, and when something is wrong with one."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from sampan.node import runtime
from sampan.node.pods import live
from sampan.node.pods.worker import PodWorker
from sampan.node.simulated import Behaviour

SIDECAR = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}


def statuses(world: Any, path: str, field: str = "containerStatuses") -> dict[str, Any]:
    return {item["name"]: item for item in world.api.status(path)[field]}


async def test_a_finished_job_does_not_start_its_sidecar_again(world: Any) -> None:
    world.runtime.behaviours["docker.io/library/job:1"] = Behaviour(run_seconds=30)
    world.runtime.behaviours["docker.io/library/proxy:1"] = Behaviour(run_seconds=29, exit_code=1)
    path = world.api.add_pod(
        "job", restartPolicy="Never", initContainers=[SIDECAR], containers=[{"name": "main", "image": "job:1"}]
    )
    await world.api.until(lambda: world.api.status(path)["phase"] == "Succeeded", 60)
    again = statuses(world, path, "initContainerStatuses")["proxy"]["restartCount"]
    await asyncio.sleep(1000)
    assert not world.running("proxy")
    assert statuses(world, path, "initContainerStatuses")["proxy"]["restartCount"] == again


async def test_a_pod_with_a_container_that_never_started_is_pending(world: Any) -> None:
    world.runtime.registry = {"docker.io/library/demo:1"}
    path = world.api.add_pod(
        "half", containers=[{"name": "main", "image": "demo:1"}, {"name": "other", "image": "missing:1"}]
    )
    await world.api.until(lambda: "running" in statuses(world, path)["main"]["state"])
    await asyncio.sleep(5)
    assert world.api.status(path)["phase"] == "Pending"
    assert statuses(world, path)["other"]["state"]["waiting"]["reason"] in ("ErrImagePull", "ImagePullBackOff")


async def test_a_pod_that_ends_is_not_probed_for_life_and_tells_of_no_ill_health(world: Any) -> None:
    asked: list[tuple[str, ...]] = []
    healthy = True

    def answer(container: runtime.Container, command: Any) -> runtime.ExecResult:
        asked.append(tuple(command))
        return runtime.ExecResult(b"", b"", 0 if healthy else 1)

    world.runtime.exec_handler = answer
    world.runtime.behaviours["docker.io/library/demo:1"] = Behaviour(ignores_term=True)
    probes = {
        f"{kind}Probe": {"exec": {"command": [kind]}, "periodSeconds": 1, "failureThreshold": 1}
        for kind in ("liveness", "readiness")
    }
    path = world.api.add_pod("web", containers=[{"name": "main", "image": "demo:1", **probes}])
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    healthy = False
    world.api.delete(path, {"gracePeriodSeconds": 20})
    await world.api.until(lambda: world.api.condition(path, "Ready") == "False")
    asked.clear()
    await asyncio.sleep(10)
    assert world.running(), "it ignores its signal"
    assert ("readiness",) in asked and ("liveness",) not in asked
    await world.api.until(lambda: path not in world.api.objects)
    assert "Unhealthy" not in world.api.reasons()


async def test_a_container_that_is_stopped_for_its_ill_health_is_not_asked_again_meanwhile(world: Any) -> None:
    asked: list[str] = []
    healthy = True

    def answer(container: runtime.Container, command: Any) -> runtime.ExecResult:
        asked.append(container.id)
        return runtime.ExecResult(b"", b"", 0 if healthy else 1)

    world.runtime.exec_handler = answer
    world.runtime.behaviours["docker.io/library/demo:1"] = Behaviour(ignores_term=True)
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1}
    world.api.add_pod(
        "web",
        terminationGracePeriodSeconds=20,
        containers=[{"name": "main", "image": "demo:1", "livenessProbe": probe}],
    )
    await world.api.until(lambda: asked)
    healthy = False
    await world.api.until(lambda: "Container main failed liveness probe, will be restarted" in world.api.messages())
    (ill,) = world.running()
    asked.clear()
    await asyncio.sleep(10)
    assert world.running() == [ill], "it ignores its signal"
    assert asked == []
    healthy = True
    await world.api.until(lambda: asked)
    assert ill not in asked


@pytest.mark.parametrize(
    ("hook", "reason", "message"),
    [
        ("postStart", "FailedPostStartHook", "PostStartHook failed"),
        ("preStop", "FailedPreStopHook", "PreStopHook failed"),
    ],
)
async def test_what_a_hook_prints_stays_out_of_events_and_status(
    world: Any, hook: str, reason: str, message: str
) -> None:
    world.runtime.exec_handler = lambda container, command: runtime.ExecResult(b"hunter2", b"hunter2", 5)
    lifecycle = {hook: {"exec": {"command": ["hook"]}}}
    path = world.api.add_pod("web", containers=[{"name": "main", "image": "demo:1", "lifecycle": lifecycle}])
    if hook == "preStop":
        await world.api.until(lambda: bool(world.running()))
        world.api.delete(path)
    await world.api.until(lambda: reason in world.api.reasons())
    told = dict(zip(world.api.reasons(), world.api.messages(), strict=True))
    assert told[reason] == message
    if hook == "postStart":
        await world.api.until(lambda: "Killing" in world.api.reasons())
        assert "FailedPostStartHook" in world.api.messages()
    assert "hunter2" not in str(world.api.objects)


async def test_a_pre_stop_hook_and_the_signal_share_one_grace_period(world: Any) -> None:
    world.runtime.behaviours["docker.io/library/demo:1"] = Behaviour(ignores_term=True)
    hook = {"preStop": {"sleep": {"seconds": 8}}}
    path = world.api.add_pod("web", containers=[{"name": "main", "image": "demo:1", "lifecycle": hook}])
    await world.api.until(lambda: bool(world.running()))
    began = world.clock.monotonic()
    world.api.delete(path, {"gracePeriodSeconds": 20})
    await world.api.until(lambda: path not in world.api.objects)
    assert 19 <= world.clock.monotonic() - began <= 21


async def test_a_hook_that_takes_too_long_is_left_and_the_container_has_two_seconds_more(world: Any) -> None:
    world.runtime.behaviours["docker.io/library/demo:1"] = Behaviour(ignores_term=True)
    hook = {"preStop": {"sleep": {"seconds": 500}}}
    path = world.api.add_pod("web", containers=[{"name": "main", "image": "demo:1", "lifecycle": hook}])
    await world.api.until(lambda: bool(world.running()))
    began = world.clock.monotonic()
    world.api.delete(path, {"gracePeriodSeconds": 10})
    await world.api.until(lambda: path not in world.api.objects)
    assert 11.5 <= world.clock.monotonic() - began <= 12.5
    assert "FailedPreStopHook" not in world.api.reasons()


@pytest.mark.parametrize("grace", [10**10, 2**63 - 1])
async def test_a_pod_with_a_grace_beyond_all_dates_ends_when_its_containers_do(world: Any, grace: int) -> None:
    hook = {"preStop": {"exec": {"command": ["hook"]}}}
    containers = [{"name": "main", "image": "demo:1", "lifecycle": hook}, {"name": "other", "image": "demo:1"}]
    path = world.api.add_pod("web", terminationGracePeriodSeconds=grace, containers=containers)
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    world.api.delete(path)
    await world.api.until(lambda: path not in world.api.objects)
    assert not world.running()


async def test_a_second_delete_shortens_a_hook_too(world: Any) -> None:
    hook = {"preStop": {"sleep": {"seconds": 500}}}
    path = world.api.add_pod("web", containers=[{"name": "main", "image": "demo:1", "lifecycle": hook}])
    await world.api.until(lambda: bool(world.running()))
    world.api.delete(path, {"gracePeriodSeconds": 600})
    await asyncio.sleep(5)
    began = world.clock.monotonic()
    world.api.delete(path, {"gracePeriodSeconds": 3})
    await world.api.until(lambda: path not in world.api.objects)
    assert world.clock.monotonic() - began < 6


async def test_containers_without_hooks_start_side_by_side_and_those_behind_a_hook_after_it(world: Any) -> None:
    world.runtime.delays.start_container = 10
    names = [{"name": name, "image": "demo:1"} for name in "abc"]
    began = world.clock.monotonic()
    path = world.api.add_pod("quick", containers=names)
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    assert world.clock.monotonic() - began < 15
    hooked = [{**names[0], "lifecycle": {"postStart": {"sleep": {"seconds": 50}}}}, *names[1:]]
    world.api.add_pod("hooked", containers=hooked)
    await asyncio.sleep(40)
    assert len(world.running("a")) == 2
    assert len(world.running("b")) == 1, "the hook has not ended"
    await world.api.until(lambda: len(world.running("b")) == 2)


async def test_a_short_command_with_one_clients_input_is_never_told_to_be_ready(world: Any) -> None:
    """Its client would attach to what has ended or is about to, and see nothing."""
    told: list[str] = []
    for seconds in (0.5, 3.0):
        image = f"run:{int(seconds)}"
        world.runtime.behaviours[f"docker.io/library/{image}"] = Behaviour(run_seconds=seconds)
        container = {"name": "main", "image": image, "stdin": True, "stdinOnce": True}
        path = world.api.add_pod(f"run{int(seconds)}", restartPolicy="Never", containers=[container])
        readiness = set()
        for _ in range(500):
            readiness.add(world.api.condition(path, "Ready"))
            await asyncio.sleep(0.01)
        assert world.api.status(path)["phase"] == "Succeeded"
        told.append("True" if "True" in readiness else "")
    assert told == ["", "True"]


@pytest.mark.logs_errors("pod bad_default: the worker begins anew")
async def test_a_fault_of_ours_in_one_pod_is_told_and_stays_with_that_pod(
    world: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan = live.plan_pod

    def broken(pod: Any, *rest: Any) -> Any:
        if pod["metadata"]["name"] == "bad" and world.clock.monotonic() < 100:
            raise RuntimeError("a fault")
        return plan(pod, *rest)

    monkeypatch.setattr(live, "plan_pod", broken)
    bad = world.api.add_pod("bad")
    good = world.api.add_pod("good")
    await world.api.until(lambda: world.api.condition(good, "Ready") == "True", 5)
    await world.api.until(lambda: "FailedSync" in world.api.reasons(), 5)
    told = next(message for message in world.api.messages() if message.startswith("Error syncing pod"))
    assert "RuntimeError" not in told and "a fault" not in told
    await world.api.until(lambda: world.api.condition(bad, "Ready") == "True", 300)
    assert "the worker begins anew" in caplog.text
    caplog.clear()


async def test_a_quick_start_is_one_status_and_its_events_come_after(world: Any) -> None:
    path = world.api.add_pod("web")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    await world.api.until(lambda: "Started" in world.api.reasons())
    of_the_node = [
        call
        for call in world.api.calls
        if "/nodes" in call.path or ((call.body or {}).get("involvedObject") or {}).get("kind") == "Node"
    ]
    rest = [call for call in world.api.calls if call not in of_the_node]
    calls = [(call.method, call.path.rpartition("/")[2]) for call in rest]
    writes = [call for call in calls if call in (("PATCH", "status"), ("POST", "events"))]
    assert writes[0] == ("PATCH", "status")
    assert writes.count(("PATCH", "status")) == 1


async def test_a_slow_start_is_told_after_two_seconds(world: Any) -> None:
    world.runtime.delays.pull_image = 60
    path = world.api.add_pod("web")
    await asyncio.sleep(1)
    assert "containerStatuses" not in world.api.status(path)
    await asyncio.sleep(2)
    assert statuses(world, path)["main"]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    await world.api.until(lambda: "Pulling" in world.api.reasons(), 1)


async def test_a_start_that_gets_on_is_told_when_it_is_done_however_long_each_step_takes(world: Any) -> None:
    world.runtime.delays.run_sandbox = 1.5
    world.runtime.delays.create_container = world.runtime.delays.start_container = 0.8
    path = world.api.add_pod("web")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    told = [call for call in world.api.calls if call.path == f"{path}/status"]
    assert len(told) == 1


async def test_a_container_that_the_runtime_lost_keeps_its_number(world: Any) -> None:
    """As after a restart of the machine whose runtime kept nothing."""
    path = world.api.add_pod("web")
    await world.api.until(lambda: bool(world.running()))
    world.runtime.exit_container(world.running()[0], 1)
    await world.api.until(lambda: statuses(world, path)["main"]["restartCount"] == 1)
    await world.stop()
    for sandbox in await world.runtime.list_sandboxes():
        await world.runtime.remove_sandbox(sandbox.id)
    world.runtime.delays.run_sandbox = 30
    await world.start()
    await world.api.until(lambda: world.api.condition(path, "Ready") == "False", 1)
    shown = statuses(world, path)["main"]
    assert shown["restartCount"] == 2 and shown["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True", 100)
    assert statuses(world, path)["main"]["restartCount"] == 2


async def test_a_node_is_told_ready_only_after_what_became_of_its_pods(world: Any) -> None:
    path = world.api.add_pod("web")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    await world.stop()
    for sandbox in await world.runtime.list_sandboxes():
        await world.runtime.stop_sandbox(sandbox.id)
    world.runtime.delays.run_sandbox = 30
    world.api.calls.clear()
    await world.start()
    assert world.api.condition(path, "Ready") == "False"
    writes = [call.path for call in world.api.calls if call.method == "PATCH"]
    assert writes.index(f"{path}/status") < writes.index("/api/v1/nodes/n1/status")


@pytest.mark.logs_errors("its worker ended")
async def test_a_refused_pod_whose_worker_ends_is_refused_by_the_next_one_too(
    world: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, lives = PodWorker.run, []

    async def fails_once(worker: PodWorker) -> None:
        lives.append(worker)
        if len(lives) == 1:
            raise LookupError("a fault of ours")
        await real(worker)

    monkeypatch.setattr(PodWorker, "run", fails_once)
    path = world.api.add_pod("windows", os={"name": "windows"})
    await world.api.until(lambda: world.api.status(path)["phase"] in ("Failed", "Running"), 60)
    assert world.api.status(path)["reason"] == "PodOSNotSupported"
    assert not world.running() and len(lives) == 2
    assert "its worker ended" in caplog.text
    caplog.clear()


async def test_a_pod_that_ends_while_its_node_is_looked_at_has_one_worker(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, asked, lives = asyncio.Event(), asyncio.Event(), []
    real = PodWorker.run

    async def look() -> None:
        asked.set()
        await looked.wait()

    async def counted(worker: PodWorker) -> None:
        lives.append(worker)
        await real(worker)

    monkeypatch.setattr(world.agent._reception._gate, "look", look)
    monkeypatch.setattr(PodWorker, "run", counted)
    path = world.api.add_pod("elsewhere", nodeSelector={"nope": "x"})
    await asked.wait()
    pod = copy.deepcopy(world.api.objects[path])
    pod["status"] = {"phase": "Failed"}
    world.api.store(path, pod, "MODIFIED")
    await world.api.until(lambda: bool(lives))
    looked.set()
    await asyncio.sleep(100)
    assert len(lives) == 1
