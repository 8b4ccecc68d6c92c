from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.node import runtime
from sampan.node.simulated import Behaviour


def running(world: Any, path: str) -> bool:
    return world.api.status(path).get("phase") == "Running"


async def test_a_bound_pod_becomes_ready_with_address_and_events(world: Any) -> None:
    path = world.api.add_pod("web")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    status = world.api.status(path)
    assert status["podIP"].startswith("10.88.")
    assert status["hostIP"] == "192.0.2.1"
    assert status["qosClass"] == "BestEffort"
    assert status["containerStatuses"][0]["ready"] and status["containerStatuses"][0]["started"]
    assert {item["type"] for item in status["conditions"]} == {
        "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled",
    }  # fmt: skip
    await world.api.until(lambda: {"Pulled", "Created", "Started"} <= set(world.api.reasons()))
    assert "Started container main" in world.api.messages()


async def test_deletion_stops_the_container_and_removes_the_object(world: Any) -> None:
    path = world.api.add_pod("web")
    await world.api.until(lambda: running(world, path))
    world.api.delete(path)
    await world.api.until(lambda: path not in world.api.objects)
    await world.api.until(lambda: not world.runtime._sandboxes)
    await world.api.until(lambda: "Stopping container main" in world.api.messages())


async def test_a_shorter_grace_is_obeyed_while_the_pod_is_ending(world: Any) -> None:
    world.runtime.behaviours["docker.io/library/demo:1"] = Behaviour(ignores_term=True)
    path = world.api.add_pod("web", terminationGracePeriodSeconds=600)
    await world.api.until(lambda: running(world, path))
    world.api.delete(path)
    await asyncio.sleep(0.02)
    assert world.running()
    world.api.delete(path, {"gracePeriodSeconds": 0})
    await world.api.until(lambda: not world.runtime._sandboxes)


async def test_a_container_that_exits_restarts_at_once_then_backs_off(world: Any) -> None:
    path = world.api.add_pod("web")
    await world.api.until(lambda: bool(world.running()))
    world.runtime.exit_container(world.running()[0], 1)
    await world.api.until(lambda: world.api.status(path)["containerStatuses"][0]["restartCount"] == 1)
    await world.api.until(lambda: bool(world.running()))
    world.runtime.exit_container(world.running()[0], 1)

    def waiting() -> Any:
        return world.api.status(path)["containerStatuses"][0]["state"].get("waiting")

    await world.api.until(lambda: waiting() is not None)
    uid = world.api.objects[path]["metadata"]["uid"]
    assert waiting() == {
        "reason": "CrashLoopBackOff",
        "message": f"back-off 10s restarting failed container=main pod=web_default({uid})",
    }
    assert world.api.status(path)["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
    assert world.api.condition(path, "Ready") == "False"
    await world.api.until(lambda: world.api.status(path)["containerStatuses"][0]["restartCount"] == 2)


async def test_never_restarted_pod_ends_as_succeeded_or_failed(world: Any) -> None:
    for code, phase in ((0, "Succeeded"), (3, "Failed")):
        image = f"job:{code}"
        world.runtime.behaviours[f"docker.io/library/{image}"] = Behaviour(run_seconds=0.01, exit_code=code)
        path = world.api.add_pod(f"job{code}", restartPolicy="Never", containers=[{"name": "main", "image": image}])
        await world.api.until(lambda path=path, phase=phase: world.api.status(path)["phase"] == phase)
        state = world.api.status(path)["containerStatuses"][0]["state"]["terminated"]
        assert state["exitCode"] == code
        assert state["reason"] == ("Completed" if code == 0 else "Error")


async def test_init_containers_run_in_order_before_the_main_one(world: Any) -> None:
    world.runtime.behaviours["docker.io/library/init:1"] = Behaviour(run_seconds=0.01)
    path = world.api.add_pod(
        "web", initContainers=[{"name": "one", "image": "init:1"}, {"name": "two", "image": "init:1"}]
    )
    await world.api.until(lambda: running(world, path))
    entries = sorted(world.runtime._containers.values(), key=lambda entry: entry.container.created_at)
    assert [entry.container.name for entry in entries] == ["one", "two", "main"]
    assert world.api.condition(path, "Initialized") == "True"


async def test_a_sidecar_starts_first_and_ends_last(world: Any) -> None:
    path = world.api.add_pod("web", initContainers=[{"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}])
    await world.api.until(lambda: running(world, path))
    stopped: list[str] = []
    original = world.runtime.stop_container

    async def note(container_id: str, timeout: int, signal: str = "") -> None:
        stopped.append(world.runtime._containers[container_id].container.name)
        await original(container_id, timeout, signal)

    world.runtime.stop_container = note
    world.api.delete(path)
    await world.api.until(lambda: path not in world.api.objects)
    assert stopped == ["main", "proxy"]


async def test_a_missing_image_is_told_and_backed_off(world: Any) -> None:
    world.runtime.registry = set()
    path = world.api.add_pod("web")

    def reason() -> str:
        statuses = world.api.status(path).get("containerStatuses") or [{"state": {}}]
        return str((statuses[0]["state"].get("waiting") or {}).get("reason"))

    await world.api.until(lambda: reason() == "ErrImagePull")
    await world.api.until(lambda: reason() == "ImagePullBackOff")
    await world.api.until(lambda: "Error: ErrImagePull" in world.api.messages())


async def test_a_missing_config_map_is_named_and_its_arrival_starts_the_container(world: Any) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "a"}}}]
    path = world.api.add_pod("web", containers=[{"name": "main", "image": "demo:1", "env": env}])

    def waiting() -> Any:
        statuses = world.api.status(path).get("containerStatuses") or [{"state": {}}]
        return statuses[0]["state"].get("waiting") or {}

    await world.api.until(lambda: waiting().get("reason") == "CreateContainerConfigError")
    assert waiting()["message"] == 'configmap "cfg" not found'
    world.api.create(
        "/api/v1/namespaces/default/configmaps",
        {"kind": "ConfigMap", "metadata": {"name": "cfg", "namespace": "default"}, "data": {"a": "1"}},
    )
    await world.api.until(lambda: running(world, path))
    assert dict(world.runtime.config_of(world.running()[0]).env)["A"] == "1"


async def test_a_restarted_agent_adopts_what_runs(world: Any) -> None:
    path = world.api.add_pod("web")
    await world.api.until(lambda: bool(world.running()))
    world.runtime.exit_container(world.running()[0], 1)
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True" and bool(world.running()))
    before = world.running()
    await world.stop()
    await world.start()
    await asyncio.sleep(0.05)
    assert world.running() == before
    assert world.api.status(path)["containerStatuses"][0]["restartCount"] == 1
    assert world.api.condition(path, "Ready") == "True"


async def test_a_sandbox_that_cannot_be_read_does_not_keep_the_node_from_other_pods(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = world.api.add_pod("broken")
    await world.api.until(lambda: running(world, broken))
    bad = next(iter(world.runtime._sandboxes))
    await world.stop()
    read = world.runtime.sandbox_status

    async def status(sandbox_id: str) -> runtime.Sandbox:
        if sandbox_id == bad:
            raise runtime.RuntimeCallError("rpc error: code = Unknown desc = remove netns: device or resource busy")
        found: runtime.Sandbox = await read(sandbox_id)
        return found

    monkeypatch.setattr(world.runtime, "sandbox_status", status)
    await world.start()
    path = world.api.add_pod("web")
    await world.api.until(lambda: running(world, path))


async def test_pods_deleted_while_no_agent_ran_are_cleared(world: Any) -> None:
    path = world.api.add_pod("web")
    await world.api.until(lambda: bool(world.running()))
    await world.stop()
    world.api.delete(path, {"gracePeriodSeconds": 0})
    await world.start()
    await world.api.until(lambda: not world.runtime._sandboxes)


async def test_a_changed_image_replaces_the_container(world: Any) -> None:
    path = world.api.add_pod("web")
    await world.api.until(lambda: bool(world.running()))
    pod = world.api.objects[path]
    spec = {**pod["spec"], "containers": [{"name": "main", "image": "demo:2"}]}
    world.api.store(path, {**pod, "metadata": dict(pod["metadata"]), "spec": spec}, "MODIFIED")
    await world.api.until(lambda: any(world.runtime.config_of(item).user_image == "demo:2" for item in world.running()))
    await world.api.until(lambda: "Container main definition changed, will be restarted" in world.api.messages())


async def test_liveness_failure_restarts_the_container(world: Any) -> None:
    healthy = True

    def answer(container: runtime.Container, command: Any) -> runtime.ExecResult:
        return runtime.ExecResult(b"", b"bad", 0 if healthy else 1)

    world.runtime.exec_handler = answer
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 0.02, "failureThreshold": 2}
    path = world.api.add_pod("web", containers=[{"name": "main", "image": "demo:1", "livenessProbe": probe}])
    await world.api.until(lambda: running(world, path))
    healthy = False
    await world.api.until(lambda: world.api.status(path)["containerStatuses"][0]["restartCount"] > 0)
    await world.api.until(lambda: "Liveness probe failed: bad" in world.api.messages())
    assert "Container main failed liveness probe, will be restarted" in world.api.messages()


async def test_readiness_follows_its_probe(world: Any) -> None:
    ready = False
    world.runtime.exec_handler = lambda container, command: runtime.ExecResult(b"", b"", 0 if ready else 1)
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 10}
    path = world.api.add_pod("web", containers=[{"name": "main", "image": "demo:1", "readinessProbe": probe}])
    await world.api.until(lambda: running(world, path))
    assert world.api.condition(path, "Ready") == "False"
    ready = True  # seen soon, not only after the period
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")


async def test_a_lost_sandbox_is_made_again_with_a_new_address(world: Any) -> None:
    path = world.api.add_pod("web")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    first = world.api.status(path)["podIP"]
    [sandbox] = world.runtime._sandboxes
    await world.runtime.stop_sandbox(sandbox)
    await world.api.until(lambda: world.api.status(path)["podIP"] != first)
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    assert len(world.api.status(path)["podIPs"]) == 1


async def test_the_node_is_registered_with_a_lease(world: Any) -> None:
    node = world.api.objects["/api/v1/nodes/n1"]
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"
    ready = next(item for item in node["status"]["conditions"] if item["type"] == "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == (
        "True", "KubeletReady", "kubelet is posting ready status",
    )  # fmt: skip
    lease = world.api.objects["/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1"]
    assert lease["spec"]["holderIdentity"] == "n1"
    assert lease["metadata"]["ownerReferences"][0]["kind"] == "Node"


async def test_the_active_deadline_fails_the_pod(world: Any) -> None:
    path = world.api.add_pod("web", activeDeadlineSeconds=100)
    await world.api.until(lambda: running(world, path))
    await world.api.until(lambda: world.api.status(path)["phase"] == "Failed")
    assert world.api.status(path)["reason"] == "DeadlineExceeded"


@pytest.mark.parametrize("where", ["postStart", "preStop"])
async def test_hooks_run_in_the_container(world: Any, where: str) -> None:
    seen: list[Any] = []

    def answer(container: runtime.Container, command: Any) -> runtime.ExecResult:
        seen.append(list(command))
        return runtime.ExecResult(b"", b"", 0)

    world.runtime.exec_handler = answer
    hook = {where: {"exec": {"command": ["hook"]}}}
    path = world.api.add_pod("web", containers=[{"name": "main", "image": "demo:1", "lifecycle": hook}])
    await world.api.until(lambda: running(world, path))
    world.api.delete(path)
    await world.api.until(lambda: path not in world.api.objects)
    assert seen == [["hook"]]


async def test_a_finalizer_keeps_the_object_but_not_its_containers(world: Any) -> None:
    path = world.api.add_pod("web")
    await world.api.until(lambda: running(world, path))
    world.api.objects[path]["metadata"]["finalizers"] = ["example.com/hold"]
    world.api.delete(path)
    await world.api.until(lambda: not world.runtime._sandboxes)
    await asyncio.sleep(0.02)
    deletions = [call for call in world.api.calls if call.method == "DELETE" and call.path == path]
    assert len(deletions) == 1
    world.api.objects[path]["metadata"]["finalizers"] = []
    world.api.delete(path, {"gracePeriodSeconds": 0})
    await world.api.until(lambda: not world.agent.pods())


async def test_a_pod_that_rests_has_one_task(world: Any) -> None:
    path = world.api.add_pod("web")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    await world.api.until(lambda: {"Pulled", "Created", "Started"} <= set(world.api.reasons()))

    def tasks_of_pods() -> list[str]:
        names = [task.get_name() for task in asyncio.all_tasks()]
        return [name for name in names if name == "status" or name.startswith("pod ")]

    await world.api.until(lambda: tasks_of_pods() == ["pod web_default"])
