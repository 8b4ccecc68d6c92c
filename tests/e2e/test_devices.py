"""A device plug-in as vendors write them, on a real node: its device is counted, scheduled, lent and taken back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from e2e_harness import NAME, Cluster, Kubectl, eventually
from e2e_manifests import pod
from tests.node.devices.conftest import TOY, Plugin

from sampan.node.devices.pb import deviceplugin_pb2 as pb

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
    kubectl("apply", "-f", "-", stdin=asking("second"))
    waits: Any = eventually(lambda: kubectl("get", "events", "--field-selector=reason=FailedScheduling"))
    assert "Insufficient example.com/toy" in waits
    kubectl("delete", "pod", "first", "--grace-period=1")
    kubectl("wait", "pod/second", "--for=condition=Ready", "--timeout=90s")
