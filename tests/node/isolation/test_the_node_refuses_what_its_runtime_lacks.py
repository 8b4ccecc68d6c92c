"""The whole agent: a pod never runs with less isolation than it asked for."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api import gates
from sampan.api.resources import PODS
from sampan.node import runtime

READ_ONLY = {
    "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Enabled"}],
}
VOLUME = [{"name": "v", "emptyDir": {}}]


async def test_a_pod_with_a_user_namespace_gets_no_sandbox_without_one(node: Any) -> None:
    await node.add_pod("userns", hostUsers=False)
    text = await node.event("userns", "FailedCreatePodSandBox")
    assert text == (
        "Failed to create pod sandbox: can't set `spec.hostUsers: false`, runtime does not support user namespaces"
    )
    assert (await node.status("userns"))["phase"] == "Pending"
    assert await node.runtime.list_sandboxes() == []


async def test_a_recursively_read_only_mount_is_a_fault_of_the_containers_configuration(node: Any) -> None:
    await node.add_pod("rro", READ_ONLY, volumes=VOLUME)
    text = await node.waiting("rro", "CreateContainerConfigError")
    assert text == (
        'failed to resolve recursive read-only mode: volume "v" requested recursive read-only mode, '
        "but it is not supported by the runtime"
    )
    assert await node.runtime.list_containers() == []


async def test_what_the_runtime_can_do_is_asked_anew_and_told_by_the_node(node: Any) -> None:
    assert "features" not in (await node.node_object())["status"]
    await node.stop()
    node.runtime.supported = runtime.Features(
        {"": runtime.HandlerFeatures(recursive_read_only_mounts=True)}, supplemental_groups_policy=True
    )
    await node.start()
    status = (await node.node_object())["status"]
    assert status["features"] == {"supplementalGroupsPolicy": True}
    features = {"recursiveReadOnlyMounts": True, "userNamespaces": False}
    assert status["runtimeHandlers"] == [{"name": "", "features": features}]
    await node.add_pod("rro", READ_ONLY, volumes=VOLUME)
    await node.running("rro")
    [container] = await node.runtime.list_containers()
    mounts = {mount.container_path: mount for mount in node.runtime.config_of(container.id).mounts}
    assert mounts["/v"].recursive_readonly


async def test_a_container_is_asked_to_end_by_its_own_stop_signal(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "drop", lambda table, new, old: None)  # a cluster where ContainerStopSignals is on
    signals = []
    stop = node.runtime.stop_container

    async def note(container_id: str, timeout_seconds: int, signal: str = "") -> None:
        signals.append(signal)
        await stop(container_id, timeout_seconds, signal)

    node.runtime.stop_container = note
    await node.add_pod(
        "web", {"lifecycle": {"stopSignal": "SIGUSR1"}}, os={"name": "linux"}, terminationGracePeriodSeconds=5
    )
    await node.running("web")
    await node.client.delete(PODS, "web", "default")
    await node.gone("web")
    assert signals == ["SIGUSR1"]


async def test_a_pod_whose_devices_are_not_ready_does_not_begin(node: Any) -> None:
    node.devices.unready = "DRA driver gpu.example.com is not registered"
    await node.add_pod("claims", resourceClaims=[{"name": "gpu", "resourceClaimName": "gpu"}])
    said = await node.event("claims", "FailedPrepareDynamicResources")
    assert said == "Failed to prepare dynamic resources: DRA driver gpu.example.com is not registered"
    assert not await node.runtime.list_sandboxes()
