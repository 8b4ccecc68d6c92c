"""Claims for devices on a node: their driver is asked once, before a pod's sandbox, and again when nobody uses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.node.devices.conftest import DRIVER, GpuDriver

from sampan.api.errors import NotFound
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.node import runtime
from sampan.node.devices.claims import ClaimDevices
from sampan.node.devices.drivers import Drivers
from sampan.node.devices.interface import ClaimsUnready, Given
from sampan.node.plugins.registry import PluginRefused

Obj = dict[str, Any]


class Objects:
    """The part of the API that a node reads claims from."""

    def __init__(self) -> None:
        self.claims: dict[str, Obj] = {}

    def cache_view(self, resource: Any) -> None:
        return None

    async def call(self, call: Call) -> Any:
        name = call.path.rpartition("/")[2]
        if name not in self.claims:
            raise NotFound(f'resourceclaims.resource.k8s.io "{name}" not found')
        return self.claims[name]


def pod(uid: str, claim: str = "one") -> Obj:
    container = {"name": "c", "resources": {"claims": [{"name": "mine"}]}}
    spec = {"resourceClaims": [{"name": "mine", "resourceClaimName": claim}], "containers": [container]}
    return {"metadata": {"name": f"pod-{uid}", "namespace": "ns", "uid": uid}, "spec": spec}


def claim(name: str, *pods: str, allocated: bool = True) -> Obj:
    results = [{"request": "gpu", "driver": DRIVER, "pool": "n", "device": "a"}]
    status: Obj = {"reservedFor": [{"resource": "pods", "name": f"pod-{uid}", "uid": uid} for uid in pods]}
    if allocated:
        status["allocation"] = {"devices": {"results": results}}
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}"}, "status": status}


class Node:
    def __init__(self, root: Path) -> None:
        self.root, self.objects, self.drivers = root, Objects(), Drivers(root)
        self.cdi = root / "cdi"
        self.cdi.mkdir()
        edits = {"env": ["GPU=a"], "deviceNodes": [{"path": "/dev/gpu", "hostPath": "/dev/null"}]}
        kind = {"kind": "example.com/gpu", "devices": [{"name": "one", "containerEdits": edits}]}
        (self.cdi / "gpu.json").write_bytes(orjson.dumps(kind))

    async def life(self) -> ClaimDevices:
        """Of an agent: what is on disk is what it begins with."""
        claims = ClaimDevices(Client(self.objects), self.drivers, self.root / "claims.json", [self.cdi])
        await claims.load()
        return claims

    @asynccontextmanager
    async def driver(self, version: str = "v1") -> AsyncIterator[GpuDriver]:
        socket = self.root / "driver.sock"
        async with GpuDriver(socket, version).serving() as driver:
            await self.drivers.register(DRIVER, str(socket), [f"{version}.DRAPlugin"], socket)
            yield driver


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_claim_is_prepared_once_shared_and_given_back_by_the_last(node: Node, version: str) -> None:
    node.objects.claims["one"] = claim("one", "1", "2")
    async with node.driver(version) as driver:
        claims = await node.life()
        await asyncio.gather(claims.prepare(pod("1")), claims.prepare(pod("2")))
        assert driver.prepared == ["one"]
        found = await claims.container(pod("1"), pod("1")["spec"]["containers"][0])
        assert found.environment == {"GPU": "a"} and found.devices == (runtime.Device("/dev/null", "/dev/gpu"),)
        await claims.unprepare("1")
        assert driver.given_back == []
        await claims.unprepare("2")
        assert driver.given_back == ["one"]


async def test_an_agent_that_begins_anew_knows_what_is_prepared_and_by_whom(node: Node) -> None:
    node.objects.claims["one"] = claim("one", "1")
    async with node.driver() as driver:
        await (await node.life()).prepare(pod("1"))
        claims = await node.life()
        await claims.prepare(pod("1"))
        assert driver.prepared == ["one"]
        assert (await claims.container(pod("1"), pod("1")["spec"]["containers"][0])).environment == {"GPU": "a"}
        # The pod went while no agent ran.
        await claims.cleanup(known=set)
        assert driver.given_back == ["one"]


async def test_what_a_driver_may_have_done_is_undone_though_it_never_said_so(node: Node) -> None:
    node.objects.claims["one"] = claim("one", "1")
    async with node.driver() as driver:
        driver.silent = True
        with pytest.raises(ClaimsUnready, match="claim ns/one: NodePrepareResources skipped the claim"):
            await (await node.life()).prepare(pod("1"))
        claims = await node.life()
        await claims.unprepare("1")
        assert driver.given_back == ["one"]


async def test_a_driver_that_refuses_is_asked_again(node: Node) -> None:
    node.objects.claims["one"] = claim("one", "1")
    async with node.driver() as driver:
        claims = await node.life()
        driver.refuses = "too hot"
        with pytest.raises(ClaimsUnready, match=r"driver gpu\.example\.com: claim ns/one: too hot"):
            await claims.prepare(pod("1"))
        driver.refuses = ""
        await claims.prepare(pod("1"))
        driver.refuses = "busy"
        with pytest.raises(ClaimsUnready, match=r"unprepare dynamic resources: .*busy"):
            await claims.unprepare("1")
        driver.refuses = ""
        await claims.unprepare("1")
        await claims.unprepare("1")
        assert driver.given_back == ["one", "one"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, "failed to fetch ResourceClaim one referenced by pod pod-1"),
        (claim("one", "2"), r"pod pod-1 \(1\) is not allowed to use ResourceClaim one \(uid-one\)"),
        (claim("one", "1", allocated=False), "ResourceClaim one is not allocated"),
        (claim("one", "1"), r"DRA driver gpu\.example\.com is not registered"),
    ],
)
async def test_why_a_claim_cannot_be_prepared(node: Node, given: Obj | None, text: str) -> None:
    if given is not None:
        node.objects.claims["one"] = given
    with pytest.raises(ClaimsUnready, match=text):
        await (await node.life()).prepare(pod("1"))


async def test_a_container_that_names_no_claim_gets_nothing(node: Node) -> None:
    node.objects.claims["one"] = claim("one", "1")
    async with node.driver():
        claims = await node.life()
        await claims.prepare(pod("1"))
        assert await claims.container(pod("1"), {"name": "other"}) == Given()
        named = {"name": "c", "resources": {"claims": [{"name": "mine", "request": "else"}]}}
        assert await claims.container(pod("1"), named) == Given()


async def test_a_driver_that_speaks_no_version_of_ours_is_refused(node: Node) -> None:
    with pytest.raises(PluginRefused, match="none of the services which are supported by the kubelet"):
        await node.drivers.register(DRIVER, "/x.sock", ["v1alpha4.DRAPlugin"], Path("/x.sock"))


async def test_what_cannot_be_written_down_is_asked_of_no_driver_at_the_next_try_either(node: Node) -> None:
    node.objects.claims["one"] = claim("one", "1", "2")
    async with node.driver() as driver:
        claims = await node.life()
        await claims.prepare(pod("1"))
        record = node.root / "claims.json"
        (kept := record.with_suffix(".kept")).write_bytes(record.read_bytes())
        record.unlink()
        record.mkdir()
        for _ in range(2):
            with pytest.raises(ClaimsUnready, match="the record of claims cannot be written: Is a directory"):
                await claims.prepare(pod("2"))
        record.rmdir()
        kept.rename(record)
        await claims.prepare(pod("2"))
        after = await node.life()
        await after.unprepare("1")
        assert driver.given_back == []


async def test_one_driver_that_fails_keeps_no_other_from_what_is_its(node: Node) -> None:
    node.objects.claims |= {name: claim(name, "1") for name in ("one", "two")}
    node.objects.claims["one"]["status"]["allocation"]["devices"]["results"][0]["driver"] = "dead.example.com"
    both = pod("1")
    both["spec"]["resourceClaims"].append({"name": "more", "resourceClaimName": "two"})
    async with node.driver() as driver:
        claims = await node.life()
        with pytest.raises(ClaimsUnready, match=r"DRA driver dead\.example\.com is not registered"):
            await claims.prepare(both)
        await claims.prepare(pod("1", "two"))
        with pytest.raises(ClaimsUnready, match=r"DRA driver dead\.example\.com is not registered"):
            await claims.unprepare("1")
        assert driver.given_back == ["two"]


@pytest.mark.logs_errors("cannot be read and was moved")
@pytest.mark.parametrize("row", [{}, {"claim": ["ns", "one", "u"], "pods": [], "drivers": [], "devices": []}])
async def test_a_damaged_record_of_claims_is_moved_aside(node: Node, row: Obj) -> None:
    (node.root / "claims.json").write_bytes(orjson.dumps({"version": 1, "claims": [row]}))
    await node.life()
    assert (node.root / "claims.damaged").exists()
