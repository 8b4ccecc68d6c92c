"""A device plug-in as vendors write them, on a real node: its device is counted, scheduled, lent and taken back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_harness import NAME, Cluster, Kubectl, eventually
from e2e_manifests import pod
from tests.node.devices.conftest import DRIVER, TOY, GpuDriver, Plugin

from sampan.node.cri.rpc import Channel
from sampan.node.devices.pb import deviceplugin_pb2 as pb
from sampan.node.devices.pb import podresources_pb2 as podresources

pytestmark = [pytest.mark.timeout(200)]


def toys(kubectl: Kubectl) -> tuple[str | None, str | None]:
    status = kubectl.json("get", "nodes")["items"][0]["status"]
    return status["capacity"].get(TOY), status["allocatable"].get(TOY)


def asking(name: str) -> str:
    return pod(name, container_extra=f'resources: {{limits: {{{TOY}: "1"}}}}')


async def test_a_plug_ins_device_is_scheduled_lent_and_taken_back(cluster: Cluster, kubectl: Kubectl) -> None:
    plugin = Plugin(Path(f"/var/lib/sampan/{NAME}/kubelet/device-plugins"), ["one"])
    plugin.answer = pb.ContainerAllocateResponse(
        envs={"TOY": "one"},
        devices=[pb.DeviceSpec(container_path="/dev/toy", host_path="/dev/null", permissions="rw")],
    )
    await plugin.start()
    try:
        await plugin.register()
        await asyncio.to_thread(_lent_once, kubectl)
        assert plugin.allocated == [["one"], ["one"]]
    finally:
        await plugin.stop()
    await asyncio.to_thread(eventually, lambda: toys(kubectl) == ("1", "0"))


def _lent_once(kubectl: Kubectl) -> None:
    eventually(lambda: toys(kubectl) == ("1", "1"))
    kubectl("apply", "-f", "-", stdin=asking("first"))
    kubectl("wait", "pod/first", "--for=condition=Ready", "--timeout=90s")
    seen = kubectl("exec", "first", "--", "sh", "-c", "echo $TOY; test -c /dev/toy && echo there")
    assert seen.split() == ["one", "there"]
    # Monitors of devices ask the node itself.
    assert ("first", "main", TOY, ["one"]) in asyncio.run(told(Path(f"/var/lib/sampan/{NAME}/kubelet")))
    kubectl("apply", "-f", "-", stdin=asking("second"))
    waits: Any = eventually(lambda: kubectl("get", "events", "--field-selector=reason=FailedScheduling"))
    assert "Insufficient example.com/toy" in waits
    kubectl("delete", "pod", "first", "--grace-period=1")
    kubectl("wait", "pod/second", "--for=condition=Ready", "--timeout=90s")


async def told(root: Path) -> list[tuple[str, str, str, list[str]]]:
    """Pod, container, resource, devices, as the pod-resources API has them."""
    channel = Channel(str(root / "pod-resources/kubelet.sock"))
    try:
        asking = podresources.ListPodResourcesRequest()
        answer = await channel.call("/v1.PodResourcesLister/List", asking, podresources.ListPodResourcesResponse, 20)
    finally:
        await channel.close()
    return [
        (of.name, container.name, given.resource_name, list(given.device_ids))
        for of in answer.pod_resources for container in of.containers for given in container.devices
    ]  # fmt: skip


@pytest.fixture
def cdi() -> Iterator[Path]:
    """Where vendors say what their devices mean for containers."""
    directory = Path("/var/run/cdi")
    made = not directory.exists()
    directory.mkdir(exist_ok=True)
    file = directory / f"{NAME}.json"
    yield file
    file.unlink(missing_ok=True)
    if made:
        directory.rmdir()


CLAIMING = f"""
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {{name: gpu}}
spec: {{spec: {{devices: {{requests: [{{name: gpu, exactly: {{deviceClassName: {NAME}}}}}]}}}}}}
---
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {{name: {NAME}}}
spec: {{selectors: [{{cel: {{expression: 'device.driver == "gpu.example.com"'}}}}]}}
"""


async def test_a_device_that_a_pod_claims_is_prepared_given_and_taken_back(
    cluster: Cluster, kubectl: Kubectl, cdi: Path
) -> None:
    """Dynamic resource allocation (KEP-4381) by a driver as vendors write them"""
    edits = {"env": ["GPU=yes"], "deviceNodes": [{"path": "/dev/gpu", "hostPath": "/dev/null"}]}
    kubelet = Path(f"/var/lib/sampan/{NAME}/kubelet")
    driver = GpuDriver(kubelet / "plugins_registry" / "gpu.sock")

    def use() -> None:
        node = kubectl.json("get", "nodes")["items"][0]["metadata"]["name"]
        pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
        offered = {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": NAME},
            "spec": {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": [{"name": "a"}]},
        }
        kubectl("apply", "-f", "-", stdin=json.dumps(offered))
        kubectl("apply", "-f", "-", stdin=CLAIMING)
        extra = "resourceClaims: [{name: mine, resourceClaimTemplateName: gpu}]"
        kubectl("apply", "-f", "-", stdin=pod("p", extra=extra, container_extra="resources: {claims: [{name: mine}]}"))
        kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=90s")
        seen = kubectl("exec", "p", "--", "sh", "-c", "echo $GPU; test -c /dev/gpu && echo there")
        assert seen.split() == ["yes", "there"]
        kubectl("delete", "pod", "p", "--grace-period=1")
        eventually(lambda: not kubectl.json("get", "resourceclaims")["items"])

    kind = {"cdiVersion": "0.6.0", "kind": "example.com/gpu", "devices": [{"name": "one", "containerEdits": edits}]}
    cdi.write_text(json.dumps(kind))
    try:
        async with driver.serving():
            await asyncio.to_thread(use)
            assert driver.prepared and driver.prepared == driver.given_back
    finally:
        await asyncio.to_thread(kubectl, "delete", "deviceclass,resourceslice", NAME, "--ignore-not-found")
