"""The Node object has many writers: the node agent says what it knows, sees what others say, and erases nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import FixedClock, format_time
from sampan.api.errors import NotFound
from sampan.api.resources import LEASES, NODES
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node import registration, runtime
from sampan.node.config import NodeConfig
from sampan.node.host_memory import MemoryHost, hollow_machine
from sampan.node.node_status import render_labels
from sampan.node.registration import NodeRegistration
from sampan.node.simulated import SimulatedRuntime
from sampan.testing.api import Api

START = datetime(2026, 1, 1, tzinfo=UTC)


class HttpLike:
    """A transport that hides the server's cache, as one to another process."""

    def __init__(self, client: Client) -> None:
        self._transport = client.transport
        self.call, self.watch, self.close = self._transport.call, self._transport.watch, self._transport.close
        self.paths: list[tuple[str, str]] = []

    def cache_view(self, resource: Any) -> None:
        return None


class Told:
    """``Recorder`` that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def event(self, about: Obj, kind: Any, reason: str, message: str, *, field_path: str = "") -> None:
        assert about == {"kind": "Node", "apiVersion": "v1", "name": "n1", "uid": "n1"}
        self.events.append((kind, reason, message))

    def reasons(self) -> list[str]:
        """Since the last time."""
        found, self.events = [reason for _, reason, _ in self.events], []
        return found


class Node:
    def __init__(self, api: Api, client: Client) -> None:
        self.api = api
        self.clock = FixedClock(START)
        self.runtime = SimulatedRuntime(self.clock)
        self.host = MemoryHost(hollow_machine("n1"))
        self.config = NodeConfig(node_name="n1", addresses=("192.0.2.1",), labels={"tier": "blue"})
        self.told = Told()
        self._client = client
        self.registration = self.start()

    def start(self) -> NodeRegistration:
        return NodeRegistration(self.config, self._client, self.runtime, self.host, self.clock, self.told)

    def pass_time(self, seconds: float) -> datetime:
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))
        return self.clock.now()

    async def object(self) -> Obj:
        return await self.api.client.get(NODES, "n1")

    async def condition(self, kind: str) -> Obj:
        found: list[Obj] = [each for each in (await self.object())["status"]["conditions"] if each["type"] == kind]
        return found[0]

    async def patch(self, patch: Obj, subresource: str = "") -> Obj:
        return await self.api.client.patch(NODES, "n1", patch, patch_type="strategic", subresource=subresource)


@pytest.fixture(params=["in one process", "by http"])
async def node(request: pytest.FixtureRequest, api: Api) -> Node:
    client = api.client_for_node("n1")
    made = Node(api, client if request.param == "in one process" else Client(HttpLike(client)))
    await made.registration.register()
    return made


async def test_a_node_marked_unknown_is_ready_at_its_next_look(node: Node) -> None:
    unknown = {"status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    kinds = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    await node.patch({"status": {"conditions": [{"type": kind, **unknown} for kind in kinds]}}, "status")
    now = node.pass_time(10)
    await node.registration.report()
    conditions = {each["type"]: each for each in (await node.object())["status"]["conditions"]}
    assert {kind: conditions[kind]["status"] for kind in kinds} == {
        "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True",
    }  # fmt: skip
    assert {conditions[kind]["lastTransitionTime"] for kind in kinds} == {format_time(now)}
    assert conditions["Ready"]["reason"] == "KubeletReady"


async def test_nothing_is_written_while_the_api_says_what_is_so(node: Node) -> None:
    before = (await node.object())["metadata"]["resourceVersion"]
    for _ in range(3):
        node.pass_time(10)
        await node.registration.report()
    assert (await node.object())["metadata"]["resourceVersion"] == before


async def test_a_condition_keeps_its_transition_while_its_status_stays(node: Node) -> None:
    node.pass_time(100)
    node.registration.pressures = lambda: ["MemoryPressure"]
    await node.registration.report()
    assert (await node.condition("Ready"))["lastTransitionTime"] == format_time(START)
    assert (await node.condition("MemoryPressure"))["lastTransitionTime"] == format_time(node.clock.now())


async def test_conditions_of_others_stay(node: Node) -> None:
    theirs = {"type": "KernelDeadlock", "status": "True", "reason": "DockerHung", "message": "task blocked"}
    await node.patch({"status": {"conditions": [theirs]}}, "status")
    node.pass_time(10)
    node.registration.pressures = lambda: ["MemoryPressure"]
    await node.registration.report()
    found = await node.condition("KernelDeadlock")
    assert {name: found[name] for name in theirs} == theirs
    assert (await node.condition("MemoryPressure"))["status"] == "True"


async def test_a_condition_that_another_changes_between_look_and_report_is_not_set_back(node: Node) -> None:
    await node.patch({"status": {"conditions": [{"type": "KernelDeadlock", "status": "False"}]}}, "status")
    render: Callable[..., Any] = node.registration._render

    async def overtaken(present: Obj) -> Any:
        made = await render(present)
        await node.patch({"status": {"conditions": [{"type": "KernelDeadlock", "status": "True"}]}}, "status")
        return made

    node.registration._render = overtaken  # type: ignore[method-assign]
    node.registration.pressures = lambda: ["MemoryPressure"]
    await node.registration.report()
    assert (await node.condition("KernelDeadlock"))["status"] == "True"


async def test_labels_annotations_and_taints_of_others_stay_when_the_agent_starts_again(node: Node) -> None:
    taint = {"key": "team", "value": "a", "effect": "NoSchedule"}
    theirs: Obj = {"metadata": {"labels": {"team": "a", "tier": "green"}, "annotations": {"note": "x"}}}
    await node.patch({**theirs, "spec": {"taints": [taint], "unschedulable": True}})
    await node.registration.register()
    found = await node.object()
    # A label of the configuration is for new Nodes: an administrator may have changed it since.
    assert {"team": "a", "tier": "green"}.items() <= found["metadata"]["labels"].items()
    assert found["metadata"]["annotations"]["note"] == "x"
    assert taint in found["spec"]["taints"]


async def test_its_own_labels_come_back_when_the_agent_starts_again(node: Node) -> None:
    await node.patch({"metadata": {"labels": {"kubernetes.io/os": "plan9"}}})
    await node.registration.register()
    labels = (await node.object())["metadata"]["labels"]
    assert render_labels(node.host.machine(), node.config).items() <= labels.items()


async def test_resources_that_others_advertise_are_allocatable(node: Node) -> None:
    await node.patch({"status": {"capacity": {"example.com/dongle": "4"}}}, "status")
    await node.registration.report()
    status = (await node.object())["status"]
    assert status["capacity"]["example.com/dongle"] == status["allocatable"]["example.com/dongle"] == "4"
    assert status["capacity"]["cpu"] == "8"


async def test_an_address_that_is_gone_goes(node: Node) -> None:
    await node.patch({"status": {"addresses": [{"type": "ExternalIP", "address": "192.0.2.9"}]}}, "status")
    await node.registration.report()
    kinds = [each["type"] for each in (await node.object())["status"]["addresses"]]
    assert kinds == ["InternalIP", "Hostname"]


async def test_a_deleted_node_stays_away_with_its_lease_until_the_agent_starts_anew(node: Node) -> None:
    await node.api.client.delete(NODES, "n1")
    await node.api.client.delete(LEASES, "n1", "kube-node-lease")
    for step in (node.registration.report, node.registration.renew_lease):
        with pytest.raises(NotFound):
            await step()
    for resource, namespace in ((NODES, ""), (LEASES, "kube-node-lease")):
        with pytest.raises(NotFound):
            await node.api.client.get(resource, "n1", namespace)
    await node.start().register()
    assert (await node.condition("Ready"))["status"] == "True"
    lease = await node.api.client.get(LEASES, "n1", "kube-node-lease")
    assert [owner["uid"] for owner in lease["metadata"]["ownerReferences"]] == [
        (await node.object())["metadata"]["uid"]
    ]


async def test_that_a_node_was_deleted_is_logged_once(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registration, "_CHECK_SECONDS", 0.0)
    node = Node(api, api.client_for_node("n1"))
    await node.registration.register()
    await api.client.delete(NODES, "n1")
    looked: list[None] = []
    report = node.registration.report

    async def look() -> None:
        looked.append(None)
        await report()

    node.registration.report = look  # type: ignore[method-assign]
    running = asyncio.create_task(node.registration.run())
    async with asyncio.timeout(30):
        while len(looked) < 4:  # noqa: ASYNC110 - the loops of the registration run meanwhile
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    said = [record.getMessage() for record in caplog.records if "it was deleted" in record.getMessage()]
    assert len(said) == 1
    assert "start the node agent again" in said[0]


async def test_the_lease_belongs_to_the_node(node: Node) -> None:
    lease = await node.api.client.get(LEASES, "n1", "kube-node-lease")
    assert [owner["uid"] for owner in lease["metadata"]["ownerReferences"]] == [node.registration.uid]


async def test_a_new_node_tells_how_it_fares(node: Node) -> None:
    assert node.told.events == [
        ("Normal", reason, f"Node n1 status is now: {reason}")
        for reason in ("NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID")
    ]


async def test_each_change_of_a_condition_is_told_once(node: Node) -> None:
    node.told.reasons()
    node.registration.pressures = lambda: ["MemoryPressure"]
    for _ in range(2):
        await node.registration.report()
    assert node.told.reasons() == ["NodeHasInsufficientMemory"]
    await node.patch({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, "status")
    node.registration.pressures = list
    await node.registration.report()
    assert node.told.reasons() == ["NodeHasSufficientMemory", "NodeReady"]


async def test_an_agent_that_starts_again_tells_only_what_changed(node: Node) -> None:
    node.told.reasons()
    await node.start().register()
    assert node.told.reasons() == []
    node.host.reboot()
    await node.start().register()
    boot_id = node.host.machine().boot_id
    assert node.told.events == [("Warning", "Rebooted", f"Node n1 has been rebooted, boot id: {boot_id}")]


async def test_a_cordoned_node_says_so(node: Node) -> None:
    node.told.reasons()
    for unschedulable in (True, None):
        await node.patch({"spec": {"unschedulable": unschedulable}})
        await node.registration.report()
    assert node.told.reasons() == ["NodeNotSchedulable", "NodeSchedulable"]


def test_a_config_is_for_any_host(tmp_path: Path) -> None:
    host = MemoryHost(hollow_machine("n1", cpus=2, memory_bytes=4 << 30))
    config = NodeConfig(node_name="n1", addresses=("192.0.2.1",), root_dir=tmp_path / "never made")
    NodeRegistration(config, None, None, host, FixedClock(START))  # type: ignore[arg-type]
    assert not config.root_dir.exists()


async def test_a_new_node_is_ready_as_soon_as_its_pod_network_is(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network comes with the node's range, after the Node: the usual look would be ten seconds late."""
    monkeypatch.setattr(registration, "_CHECK_SECONDS", 3600.0)
    node = Node(api, api.client_for_node("n1"))
    network = False

    async def conditions() -> list[runtime.RuntimeCondition]:
        return [runtime.RuntimeCondition("RuntimeReady", True), runtime.RuntimeCondition("NetworkReady", network)]

    monkeypatch.setattr(node.runtime, "conditions", conditions)
    await node.registration.register()
    assert (await node.condition("Ready"))["status"] == "False"
    running = asyncio.create_task(node.registration.run())
    try:
        network = True
        async with api.client.watch(NODES, field_selector="metadata.name=n1") as events:
            async for event in events:
                if event.type == "BOOKMARK":
                    continue
                ready = [each for each in event.object["status"]["conditions"] if each["type"] == "Ready"]
                if ready[0]["status"] == "True":
                    break
    finally:
        running.cancel()
        await asyncio.wait([running])
