"""Claims in a whole simulated cluster, in virtual time: from the claim to the running pod and back to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.errors import NotFound
from sampan.api.resources import (
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STATEFUL_SETS,
    STORAGE_CLASSES,
)
from sampan.client.client import Client
from sampan.client.timeline import VirtualTimeline
from sampan.testing import virtual
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(120)

Obj = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)


def claim(name: str = "data", **spec: Any) -> Obj:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": wanted}


def pod(name: str, *claims: str, **spec: Any) -> Obj:
    volumes = [{"name": each, "persistentVolumeClaim": {"claimName": each}} for each in claims]
    mounts = [{"name": each, "mountPath": f"/{each}"} for each in claims]
    container = {"name": "c", "image": "any", "volumeMounts": mounts}
    whole = {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes, **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": whole}


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


async def until_phase(client: Client, resource: Any, name: str, phase: str) -> Obj:
    namespace = None if resource is PERSISTENT_VOLUMES else "default"
    found: Obj = await until(
        lambda: client.get(resource, name, namespace), lambda obj: obj["status"].get("phase") == phase
    )
    return found


async def until_gone(client: Client, resource: Any) -> None:
    await until(lambda: client.list(resource), lambda page: not page["items"])


async def volumes_of_claims(client: Client) -> dict[str, str]:
    items = (await client.list(PERSISTENT_VOLUME_CLAIMS))["items"]
    return {each["metadata"]["name"]: each["spec"]["volumeName"] for each in items}


def in_cluster(directory: Path, scenario: Callable[[Client], Awaitable[None]], nodes: int = 2) -> None:
    async def live() -> None:
        clock = VirtualTimeline(START)
        async with Cluster(directory, nodes=nodes, clock=clock, seed=1, listen=False) as cluster:
            await scenario(cluster.client)

    virtual.run(live())


def test_a_claim_of_no_class_is_made_where_its_first_pod_runs_and_goes_with_its_data(tmp_path: Path) -> None:
    """ST7; [sig-storage] PersistentVolumes: dynamic provisioning by the default class."""

    async def scenario(client: Client) -> None:
        assert (await client.get(STORAGE_CLASSES, "standard"))["provisioner"] == "sampan.io/local-path"
        await client.create(PERSISTENT_VOLUME_CLAIMS, claim())
        await asyncio.sleep(30)
        assert (await client.get(PERSISTENT_VOLUME_CLAIMS, "data", "default"))["status"]["phase"] == "Pending"
        began = asyncio.get_running_loop().time()
        await client.create(PODS, pod("p", "data"))
        running = await until_phase(client, PODS, "p", "Running")
        assert asyncio.get_running_loop().time() - began <= 2
        bound = await client.get(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        assert bound["spec"]["storageClassName"] == "standard" and bound["status"]["phase"] == "Bound"
        volume = await client.get(PERSISTENT_VOLUMES, bound["spec"]["volumeName"])
        (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        assert term["matchExpressions"][0]["values"] == [running["spec"]["nodeName"]]
        # A second pod goes to where the data is.
        await client.create(PODS, pod("q", "data"))
        second = await until_phase(client, PODS, "q", "Running")
        assert second["spec"]["nodeName"] == running["spec"]["nodeName"]
        # In use it stays; then it goes, and its volume too.
        await client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        await asyncio.sleep(30)
        assert (await client.get(PERSISTENT_VOLUME_CLAIMS, "data", "default"))["metadata"]["deletionTimestamp"]
        for name in ("p", "q"):
            await client.delete(PODS, name, "default", grace_period_seconds=0)
        await until_gone(client, PERSISTENT_VOLUME_CLAIMS)
        await until_gone(client, PERSISTENT_VOLUMES)
        reasons = {event["reason"] for event in (await client.list(EVENTS))["items"]}
        assert {"WaitForFirstConsumer", "ExternalProvisioning", "Provisioning", "ProvisioningSucceeded"} <= reasons
        assert "FailedScheduling" not in reasons

    in_cluster(tmp_path, scenario)


def test_a_set_keeps_its_claims_and_its_pods_find_their_volumes_again(tmp_path: Path) -> None:
    """StatefulSet with claim templates; [sig-storage] PersistentVolumes"""

    async def scenario(client: Client) -> None:
        labels = {"app": "db"}
        template = {"metadata": {"labels": labels}, "spec": pod("x")["spec"]}
        spec = {"replicas": 3, "serviceName": "db", "selector": {"matchLabels": labels}, "template": template}
        spec["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claim()["spec"]}]
        await client.create(STATEFUL_SETS, {"metadata": {"name": "db", "namespace": "default"}, "spec": spec})
        for number in range(3):
            await until(
                lambda: client.list(PODS, "default", field_selector="status.phase=Running"),
                lambda page, number=number: len(page["items"]) > number,
            )
        before = await volumes_of_claims(client)
        assert len(set(before.values())) == 3
        first = await client.get(PODS, "db-1", "default")
        await client.delete(PODS, "db-1", "default")
        again = await until(
            lambda: client.get(PODS, "db-1", "default"),
            lambda found: (
                found
                and found["metadata"]["uid"] != first["metadata"]["uid"]
                and found["status"].get("phase") == "Running"
            ),
        )
        assert again["spec"]["nodeName"] == first["spec"]["nodeName"]
        assert await volumes_of_claims(client) == before

    in_cluster(tmp_path, scenario, nodes=3)


def test_claims_go_with_their_set_or_when_it_shrinks_as_its_policy_says(tmp_path: Path) -> None:
    """StatefulSet, persistentVolumeClaimRetentionPolicy (KEP-1847)"""

    async def scenario(client: Client) -> None:
        labels = {"app": "db"}
        template = {"metadata": {"labels": labels}, "spec": pod("x")["spec"]}
        spec: Obj = {"replicas": 2, "serviceName": "db", "selector": {"matchLabels": labels}, "template": template}
        spec["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claim()["spec"]}]
        spec["persistentVolumeClaimRetentionPolicy"] = {"whenScaled": "Delete", "whenDeleted": "Delete"}
        await client.create(STATEFUL_SETS, {"metadata": {"name": "db", "namespace": "default"}, "spec": spec})
        running = "status.phase=Running"
        await until(lambda: client.list(PODS, "default", field_selector=running), lambda page: len(page["items"]) == 2)
        await client.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}}, "default")
        await until(lambda: client.list(PERSISTENT_VOLUMES), lambda page: len(page["items"]) == 1)
        assert list(await volumes_of_claims(client)) == ["data-db-0"]
        await client.delete(STATEFUL_SETS, "db", "default")
        await until_gone(client, PERSISTENT_VOLUME_CLAIMS)
        await until_gone(client, PERSISTENT_VOLUMES)

    in_cluster(tmp_path, scenario)


def test_static_volumes_of_nodes_are_chosen_by_the_scheduler(tmp_path: Path) -> None:
    """[sig-storage] PersistentVolumes-local: delayed binding"""

    async def scenario(client: Client) -> None:
        delayed = {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}
        await client.create(STORAGE_CLASSES, {"metadata": {"name": "disks"}, **delayed})
        await client.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="disks"))
        await client.create(PODS, pod("p", "data"))
        waiting = await until(
            lambda: client.get(PODS, "p", "default"),
            lambda found: any(c.get("reason") == "Unschedulable" for c in found["status"].get("conditions", ())),
        )
        words = "2 node(s) didn't find available persistent volumes to bind"
        assert words in waiting["status"]["conditions"][0]["message"]
        test = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}
        spec: Obj = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "disks"}
        spec["local"] = {"path": "/mnt/disk"}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [test]}]}}
        await client.create(PERSISTENT_VOLUMES, {"metadata": {"name": "disk"}, "spec": spec})
        running = await until_phase(client, PODS, "p", "Running")
        assert running["spec"]["nodeName"] == "node-1"
        await until_phase(client, PERSISTENT_VOLUMES, "disk", "Bound")
        await client.delete(PODS, "p", "default", grace_period_seconds=0)
        await client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        await until_phase(client, PERSISTENT_VOLUMES, "disk", "Released")

    in_cluster(tmp_path, scenario)


def test_an_ephemeral_volume_lives_as_long_as_its_pod(tmp_path: Path) -> None:
    async def scenario(client: Client) -> None:
        volume = {"name": "d", "ephemeral": {"volumeClaimTemplate": {"spec": claim()["spec"]}}}
        await client.create(PODS, pod("p", volumes=[volume]))
        await until_phase(client, PODS, "p", "Running")
        assert [c["metadata"]["name"] for c in (await client.list(PERSISTENT_VOLUME_CLAIMS))["items"]] == ["p-d"]
        await client.delete(PODS, "p", "default", grace_period_seconds=0)
        await until_gone(client, PERSISTENT_VOLUME_CLAIMS)
        await until_gone(client, PERSISTENT_VOLUMES)

    in_cluster(tmp_path, scenario)


def test_a_claim_for_one_pod_makes_the_next_one_wait(tmp_path: Path) -> None:
    """ST8: ReadWriteOncePod"""

    async def scenario(client: Client) -> None:
        await client.create(PERSISTENT_VOLUME_CLAIMS, claim(accessModes=["ReadWriteOncePod"]))
        await client.create(PODS, pod("p", "data"))
        await until_phase(client, PODS, "p", "Running")
        await client.create(PODS, pod("q", "data"))
        await asyncio.sleep(30)
        assert "nodeName" not in (await client.get(PODS, "q", "default"))["spec"]
        await client.delete(PODS, "p", "default", grace_period_seconds=0)
        await until_phase(client, PODS, "q", "Running")

    in_cluster(tmp_path, scenario)


def test_a_claim_grows_and_a_retained_volume_keeps_its_data(tmp_path: Path) -> None:
    """ST9"""

    async def scenario(client: Client) -> None:
        kept = {"provisioner": "sampan.io/local-path", "volumeBindingMode": "WaitForFirstConsumer"}
        await client.create(STORAGE_CLASSES, {"metadata": {"name": "kept"}, "reclaimPolicy": "Retain", **kept})
        await client.create(PERSISTENT_VOLUME_CLAIMS, claim())
        await client.create(PERSISTENT_VOLUME_CLAIMS, claim("other", storageClassName="kept"))
        await client.create(PODS, pod("p", "data", "other"))
        await until_phase(client, PODS, "p", "Running")
        more = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
        await client.patch(PERSISTENT_VOLUME_CLAIMS, "data", more, "default")
        await until(
            lambda: client.get(PERSISTENT_VOLUME_CLAIMS, "data", "default"),
            lambda found: found["status"]["capacity"] == {"storage": "3Gi"},
        )
        name = (await client.get(PERSISTENT_VOLUME_CLAIMS, "other", "default"))["spec"]["volumeName"]
        await client.delete(PODS, "p", "default", grace_period_seconds=0)
        await client.delete(PERSISTENT_VOLUME_CLAIMS, "other", "default")
        await until_phase(client, PERSISTENT_VOLUMES, name, "Released")
        await asyncio.sleep(60)
        await client.delete(PERSISTENT_VOLUMES, name)
        await until(lambda: client.get(PERSISTENT_VOLUMES, name), lambda found: found is None)

    in_cluster(tmp_path, scenario)
