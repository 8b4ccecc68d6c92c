"""What a cluster cannot be without comes back, at upstream's pace, for as long as the server runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.api.errors import NotFound, ServiceUnavailable
from sampan.api.transport import Call
from sampan.server.app import Server
from sampan.server.bootstrap.keep import Keeper
from sampan.server.bootstrap.objects import BootstrapConfig
from sampan.server.config import ServerConfig

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVICE = "/api/v1/namespaces/default/services/kubernetes"
FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1"
Ask = Callable[..., Awaitable[Any]]


async def with_server(body: Callable[[Ask], Awaitable[None]]) -> None:
    config = ServerConfig(
        listen=False, openapi=False, advertise_address="192.0.2.1", clock=FixedClock(NOW), random=random.Random(1)
    )
    async with Server(config) as server:
        transport = server.local_transport()

        async def ask(method: str, path: str, obj: Any = None) -> Any:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            return await transport.call(Call(method, path, body=obj, content_type=kind))

        await asyncio.sleep(1)  # the first pass
        await body(ask)


@pytest.mark.parametrize(
    ("path", "seconds"),
    [
        (SERVICE, 10),
        ("/api/v1/namespaces/default/endpoints/kubernetes", 10),
        ("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes", 10),
        ("/apis/networking.k8s.io/v1/servicecidrs/kubernetes", 10),
        (f"{FLOWS}/flowschemas/exempt", 60),
        (f"{FLOWS}/prioritylevelconfigurations/catch-all", 60),
    ],
)
def test_what_is_deleted_is_there_again_in_time(virtual: Any, path: str, seconds: int) -> None:
    async def body(ask: Ask) -> None:
        before = await ask("GET", path)
        await ask("DELETE", path)
        await asyncio.sleep(seconds)
        after = await ask("GET", path)
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert after.get("spec") == before.get("spec")
        assert after.get("status") == before.get("status")

    virtual(with_server(body))


def test_a_system_namespace_is_there_again_within_a_minute(virtual: Any) -> None:
    async def body(ask: Ask) -> None:
        path = "/api/v1/namespaces/kube-node-lease"
        await ask("DELETE", path)
        await ask("PUT", f"{path}/finalize", {"metadata": {"name": "kube-node-lease"}, "spec": {"finalizers": []}})
        with pytest.raises(NotFound):
            await ask("GET", path)
        await asyncio.sleep(60)
        assert (await ask("GET", path))["status"] == {"phase": "Active"}

    virtual(with_server(body))


def test_the_endpoints_of_the_api_server_are_set_right(virtual: Any) -> None:
    async def body(ask: Ask) -> None:
        path = "/api/v1/namespaces/default/endpoints/kubernetes"
        await ask("PATCH", path, {"subsets": [{"addresses": [{"ip": "192.0.2.66"}], "ports": [{"port": 1}]}]})
        await asyncio.sleep(10)
        assert (await ask("GET", path))["subsets"][0]["addresses"] == [{"ip": "192.0.2.1"}]

    virtual(with_server(body))


def test_the_service_is_not_changed_back_nor_written_without_need(virtual: Any) -> None:
    async def body(ask: Ask) -> None:
        changed = await ask("PATCH", SERVICE, {"metadata": {"labels": {"mine": "yes"}}})
        await asyncio.sleep(300)
        assert await ask("GET", SERVICE) == changed

    virtual(with_server(body))


def test_the_default_range_is_ready_and_what_somebody_else_says_of_it_stays(virtual: Any) -> None:
    async def body(ask: Ask) -> None:
        path = "/apis/networking.k8s.io/v1/servicecidrs/kubernetes"
        (ready,) = (await ask("GET", path))["status"]["conditions"]
        assert (ready["type"], ready["status"], ready["message"]) == (
            "Ready",
            "True",
            "Kubernetes Service CIDR is ready",
        )
        refused = {**ready, "status": "False", "reason": "Mine"}
        await ask("PATCH", f"{path}/status", {"status": {"conditions": [refused]}})
        await asyncio.sleep(60)
        assert (await ask("GET", path))["status"]["conditions"] == [refused]

    virtual(with_server(body))


def test_a_flow_schema_says_whether_its_priority_level_is_there(virtual: Any) -> None:
    async def body(ask: Ask) -> None:
        async def dangling(name: str) -> tuple[str, str, str]:
            (found,) = (await ask("GET", f"{FLOWS}/flowschemas/{name}"))["status"]["conditions"]
            assert found["type"] == "Dangling"
            return found["status"], found["reason"], found["message"]

        reference = "This FlowSchema references the PriorityLevelConfiguration object named"
        assert await dangling("exempt") == ("False", "Found", f'{reference} "exempt" and it exists')
        spec = {"priorityLevelConfiguration": {"name": "mine"}, "matchingPrecedence": 5000}
        await ask("POST", f"{FLOWS}/flowschemas", {"metadata": {"name": "mine"}, "spec": spec})
        await asyncio.sleep(60)
        assert await dangling("mine") == ("True", "NotFound", f'{reference} "mine" but there is no such object')

    virtual(with_server(body))


def test_passes_are_left_out_while_nothing_changes(virtual: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    async def counted(keeper: Keeper) -> bool:
        passes.append(asyncio.get_running_loop().time())
        return True

    monkeypatch.setattr(Keeper, "keep_service", counted)

    async def body(ask: Ask) -> None:
        await asyncio.sleep(3600)
        del passes[:]
        await asyncio.sleep(3600)
        assert passes == []
        other = "/api/v1/namespaces/default/services"
        port = {"port": 80, "protocol": "TCP"}
        await ask("POST", other, {"metadata": {"name": "other"}, "spec": {"ports": [port]}})
        await ask("DELETE", f"{other}/other")
        await asyncio.sleep(3600)
        assert passes == [], "a service of somebody else is nobody's business here"
        await ask("PATCH", SERVICE, {"metadata": {"labels": {"mine": "yes"}}})
        await asyncio.sleep(3600)
        assert len(passes) == 1

    virtual(with_server(body))


class Deaf:
    """A reader that tells of no change."""

    def subscribe(self, resource: Any, callback: Any, *, keep: bool = True) -> Callable[[], None]:
        return lambda: None

    def on_change(self, resource: Any, namespace: str, name: str, changed: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


@pytest.mark.parametrize("fault", [ServiceUnavailable("no"), RuntimeError("a fault of ours"), TimeoutError()])
@pytest.mark.logs_errors("objects that the cluster needs were not looked at")
def test_a_fault_costs_a_pass_and_no_more(virtual: Any, fault: Exception) -> None:
    class Failing:
        calls = 0

        async def call(self, call: Call) -> Any:
            self.calls += 1
            raise fault

    async def run() -> None:
        transport = Failing()
        config = BootstrapConfig(
            service_ip="10.96.0.1", service_cidrs=("10.96.0.0/16",), advertise_address="192.0.2.1", port=6443
        )
        keeper = Keeper(transport, config, FixedClock(NOW), Deaf())  # type: ignore[arg-type]
        keeping = asyncio.ensure_future(keeper.run())
        await asyncio.sleep(5)
        before = transport.calls
        await asyncio.sleep(60)
        assert transport.calls > 2 * before
        assert not keeping.done()
        keeping.cancel()

    virtual(run())
