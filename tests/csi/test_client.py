"""Calls to a driver on a socket: what its errors mean, and what never gets into them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sampan.csi.client import DriverClient
from sampan.csi.errors import DriverError, Final, Infeasible, Lacks, Uncertain
from sampan.csi.pb import csi_pb2 as csi
from sampan.csi.server import Refusal, serve


class Driver:
    refuse_with = "INTERNAL"

    def __init__(self) -> None:
        self.asked_for_info = asyncio.Event()

    async def GetPluginInfo(self, request: Any) -> Any:  # noqa: N802
        return csi.GetPluginInfoResponse(name="disk.example.com", vendor_version="1.2")

    async def Probe(self, request: Any) -> Any:  # noqa: N802
        return csi.ProbeResponse()

    async def NodeGetCapabilities(self, request: Any) -> Any:  # noqa: N802
        rpc = csi.NodeServiceCapability.RPC
        of_later_version = csi.NodeServiceCapability(rpc=rpc(type=99))  # type: ignore[arg-type]  # a number that no version has yet
        stages = csi.NodeServiceCapability(rpc=rpc(type=rpc.STAGE_UNSTAGE_VOLUME))
        return csi.NodeGetCapabilitiesResponse(capabilities=[stages, of_later_version])

    async def NodeStageVolume(self, request: Any) -> Any:  # noqa: N802
        raise Refusal(self.refuse_with, f"cannot log in with {request.secrets['password']}: {request.volume_id}")

    async def NodeUnstageVolume(self, request: Any) -> Any:  # noqa: N802
        return b"\xff\xff\xff\xff"

    async def NodeGetInfo(self, request: Any) -> Any:  # noqa: N802
        self.asked_for_info.set()
        await asyncio.Event().wait()


@pytest.fixture
async def driver(tmp_path: Path):
    driver = Driver()
    server = await serve(str(tmp_path / "d"), driver)
    yield driver
    await server.stop(None)


@pytest.fixture
async def client(tmp_path: Path):
    client = DriverClient(str(tmp_path / "d"))
    yield client
    await client.close()


async def test_identity_and_capabilities_are_read_and_unknown_ones_do_no_harm(driver: Driver, client: DriverClient):
    assert (await client.plugin_info()).name == "disk.example.com"
    assert await client.probe() is True
    assert await client.node_capabilities() == {"STAGE_UNSTAGE_VOLUME", "UNKNOWN"}


@pytest.mark.parametrize(
    ("code", "meaning", "go_code"),
    [
        ("INTERNAL", Final, "Internal"),
        ("ALREADY_EXISTS", Final, "AlreadyExists"),
        ("NOT_FOUND", Infeasible, "NotFound"),
        ("OUT_OF_RANGE", Infeasible, "OutOfRange"),
        ("ABORTED", Uncertain, "Aborted"),
        ("CANCELLED", Uncertain, "Canceled"),
    ],
)
async def test_an_error_says_what_to_do_next_in_go_words_without_the_secret(
    driver: Driver, client: DriverClient, code: str, meaning: type[DriverError], go_code: str
):
    driver.refuse_with = code
    request = csi.NodeStageVolumeRequest(volume_id="v1", secrets={"password": "hunter2"})

    with pytest.raises(meaning) as caught:
        await client.node("NodeStageVolume", request)

    assert str(caught.value) == f"rpc error: code = {go_code} desc = cannot log in with ***stripped***: v1"


@pytest.mark.parametrize("where", ["volume_context", "secrets"])
async def test_a_token_is_no_more_told_than_a_secret(driver: Driver, client: DriverClient, where: str):
    tokens = {"csi.storage.k8s.io/serviceAccount.tokens": '{"vault":{"token":"e.y.J","expirationTimestamp":null}}'}
    request = csi.NodeStageVolumeRequest(volume_id="token e.y.J is refused", secrets={"password": "x"})
    getattr(request, where).update(tokens)
    with pytest.raises(DriverError, match=r"token \*\*\*stripped\*\*\* is refused") as caught:
        await client.node("NodeStageVolume", request)
    assert "e.y.J" not in str(caught.value)


async def test_a_lacking_call_is_told_from_one_that_failed(driver: Driver, client: DriverClient):
    with pytest.raises(Lacks):
        await client.node("NodeExpandVolume", csi.NodeExpandVolumeRequest(volume_id="v1"))


async def test_an_answer_that_cannot_be_read_leaves_it_open_whether_it_happened(driver: Driver, client: DriverClient):
    with pytest.raises(Uncertain, match="not a message of the interface"):
        await client.node("NodeUnstageVolume", csi.NodeUnstageVolumeRequest(volume_id="v1"))


async def test_a_hung_driver_ends_with_the_deadline(driver: Driver, client: DriverClient):
    with pytest.raises(Uncertain) as caught:
        await client.node("NodeGetInfo", csi.NodeGetInfoRequest(), timeout_seconds=0.5)
    assert caught.value.code == "DeadlineExceeded"


async def test_a_socket_that_nobody_serves_is_known_at_once(client: DriverClient):
    with pytest.raises(Uncertain) as caught:
        await client.plugin_info()
    assert caught.value.code == "Unavailable"


async def test_a_connection_that_is_closed_fails_its_calls_and_cancels_nobody(driver: Driver, client: DriverClient):
    waiting = asyncio.create_task(client.node_info())
    await driver.asked_for_info.wait()
    await client.close()
    with pytest.raises(Uncertain, match="the connection to the driver is closed"):
        await waiting
    with pytest.raises(Uncertain, match="the connection to the driver is closed"):
        await client.probe()


async def test_whoever_is_cancelled_while_a_call_goes_on_is_cancelled(driver: Driver, client: DriverClient):
    waiting = asyncio.create_task(client.node_info())
    await driver.asked_for_info.wait()  # one that is cancelled before it has begun is a fault to gRPC's server
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
