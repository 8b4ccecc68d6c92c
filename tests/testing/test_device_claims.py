"""Claims for devices in a whole simulated cluster, in virtual time: from the template to the allocation and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.errors import NotFound
from sampan.api.resources import (
    DEVICE_CLASSES,
    EVENTS,
    NODES,
    PODS,
    RESOURCE_CLAIM_TEMPLATES,
    RESOURCE_CLAIMS,
    RESOURCE_SLICES,
)
from sampan.client.client import Client
from sampan.client.timeline import VirtualTimeline
from sampan.testing import virtual
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(120)

Obj = dict[str, Any]
DRIVER = "gpu.example.com"
SPEC: Obj = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}}


def named(name: str, **more: Any) -> Obj:
    return {"metadata": {"name": name, "namespace": "default"}, **more}


def pod(name: str, **claim: str) -> Obj:
    container = {"name": "c", "image": "any", "resources": {"claims": [{"name": "mine"}]}}
    spec = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "resourceClaims": [{"name": "mine", **claim}],
    }
    return named(name, spec=spec)


async def until(read: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
    """In virtual time: what stays as it is for ten minutes stays for ever. What is not there is None."""
    found = None
    for _ in range(6000):
        try:
            found = await read()
        except NotFound:
            found = None
        if holds(found):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"it stays {found}")


async def until_running(client: Client, name: str) -> Obj:
    found: Obj = await until(
        lambda: client.get(PODS, name, "default"), lambda obj: obj["status"].get("phase") == "Running"
    )
    return found


async def claims(client: Client) -> list[Obj]:
    found: list[Obj] = (await client.list(RESOURCE_CLAIMS))["items"]
    return found


async def offer(client: Client, *devices: str) -> str:
    """Devices on one node, and a class for them; the node's name."""
    nodes = await client.list(NODES)
    node: str = nodes["items"][0]["metadata"]["name"]
    selector = {"cel": {"expression": f'device.driver == "{DRIVER}"'}}
    await client.create(DEVICE_CLASSES, {"metadata": {"name": "gpu"}, "spec": {"selectors": [selector]}})
    spec = {
        "driver": DRIVER,
        "nodeName": node,
        "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
        "devices": [{"name": name} for name in devices],
    }
    await client.create(RESOURCE_SLICES, {"metadata": {"name": "s"}, "spec": spec})
    return node


def in_cluster(directory: Path, scenario: Callable[[Client], Awaitable[None]]) -> None:
    async def live() -> None:
        async with Cluster(directory, nodes=2, clock=VirtualTimeline(START), seed=1, listen=False) as cluster:
            await scenario(cluster.client)

    virtual.run(live())


START = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_pods_claim_is_made_allocated_reserved_and_goes_with_it(tmp_path: Path) -> None:
    """Dynamic resource allocation by a template (KEP-4381)"""

    async def scenario(client: Client) -> None:
        node = await offer(client, "a")
        await client.create(RESOURCE_CLAIM_TEMPLATES, named("t", spec={"spec": SPEC}))
        await client.create(PODS, pod("one", resourceClaimTemplateName="t"))
        running = await until_running(client, "one")
        assert running["spec"]["nodeName"] == node
        [claim] = await claims(client)
        assert running["status"]["resourceClaimStatuses"] == [
            {"name": "mine", "resourceClaimName": claim["metadata"]["name"]}
        ]
        assert claim["metadata"]["name"].startswith("one-mine-")
        assert claim["metadata"]["annotations"] == {"resource.kubernetes.io/pod-claim-name": "mine"}
        assert claim["metadata"]["finalizers"] == ["resource.kubernetes.io/delete-protection"]
        status = claim["status"]
        assert status["allocation"]["devices"]["results"] == [
            {"request": "gpu", "driver": DRIVER, "pool": node, "device": "a"}
        ]
        assert status["reservedFor"] == [{"resource": "pods", "name": "one", "uid": running["metadata"]["uid"]}]
        # The one device is taken: who comes next waits for it, and is told.
        await client.create(PODS, pod("two", resourceClaimTemplateName="t"))
        said = await until(
            lambda: client.list(EVENTS), lambda page: any(e["reason"] == "FailedScheduling" for e in page["items"])
        )
        [text] = {e["message"] for e in said["items"] if e["reason"] == "FailedScheduling"}
        assert text.startswith("0/2 nodes are available: 2 cannot allocate all claims.")
        await client.delete(PODS, "one", "default")
        await until_running(client, "two")
        await client.delete(PODS, "two", "default")
        await until(lambda: claims(client), lambda found: not found)

    in_cluster(tmp_path, scenario)


def test_a_claim_of_its_own_is_shared_and_given_back_by_the_last_pod(tmp_path: Path) -> None:
    """Dynamic resource allocation by a shared claim (KEP-4381)"""

    async def scenario(client: Client) -> None:
        await offer(client, "a", "b")
        await client.create(PODS, pod("early", resourceClaimName="shared"))
        await asyncio.sleep(30)
        assert not (await client.get(PODS, "early", "default"))["spec"].get("nodeName")
        await client.create(RESOURCE_CLAIMS, named("shared", spec=SPEC))
        await client.create(PODS, pod("late", resourceClaimName="shared"))
        for name in ("early", "late"):
            await until_running(client, name)
        [claim] = await claims(client)
        assert {each["name"] for each in claim["status"]["reservedFor"]} == {"early", "late"}
        assert len(claim["status"]["allocation"]["devices"]["results"]) == 1
        await client.delete(PODS, "early", "default")
        await asyncio.sleep(30)
        [claim] = await claims(client)
        assert [each["name"] for each in claim["status"]["reservedFor"]] == ["late"]
        await client.delete(PODS, "late", "default")
        await until(lambda: claims(client), lambda found: "allocation" not in found[0].get("status", {}))
        [claim] = await claims(client)
        assert "finalizers" not in claim["metadata"] and "reservedFor" not in claim.get("status", {})

    in_cluster(tmp_path, scenario)


def test_a_template_that_is_missing_is_told_and_waited_for(tmp_path: Path) -> None:
    async def scenario(client: Client) -> None:
        await offer(client, "a")
        await client.create(PODS, pod("p", resourceClaimTemplateName="t"))
        said = await until(
            lambda: client.list(EVENTS),
            lambda page: any(e["reason"] == "FailedResourceClaimCreation" for e in page["items"]),
        )
        [text] = {e["message"] for e in said["items"] if e["reason"] == "FailedResourceClaimCreation"}
        assert text == (
            'PodResourceClaim mine: resource claim template "t": resourceclaimtemplate.resource.k8s.io "t" not found'
        )
        await client.create(RESOURCE_CLAIM_TEMPLATES, named("t", spec={"spec": SPEC}))
        await until_running(client, "p")

    in_cluster(tmp_path, scenario)


def test_devices_of_pods_that_come_at_once_are_given_to_one_each(tmp_path: Path) -> None:
    async def scenario(client: Client) -> None:
        await offer(client, *(f"d{number}" for number in range(10)))
        await client.create(RESOURCE_CLAIM_TEMPLATES, named("t", spec={"spec": SPEC}))
        names = [f"p{number}" for number in range(12)]
        await asyncio.gather(*(client.create(PODS, pod(name, resourceClaimTemplateName="t")) for name in names))
        await asyncio.sleep(120)
        phases = [each["status"].get("phase") for each in (await client.list(PODS))["items"]]
        assert (phases.count("Running"), phases.count("Pending")) == (10, 2)
        given = [
            result["device"]
            for claim in await claims(client)
            for result in claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results", [])
        ]
        assert sorted(given) == [f"d{number}" for number in range(10)]

    in_cluster(tmp_path, scenario)
