"""The attachdetach-controller with its informers: what it writes, what pods are told, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.api.resources import (
    CSI_DRIVERS,
    EVENTS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTACHMENTS,
)
from sampan.api.storage.attachments import attachment_name, unique_name
from sampan.controllers.attachdetach.controller import AttachDetachController

Obj = dict[str, Any]
DRIVER, NAME = "disk.example.com", unique_name("disk.example.com", "h")


def node(name: str, ready: str = "True", in_use: Any = (), **spec: Any) -> Obj:
    annotations = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
    status = {"conditions": [{"type": "Ready", "status": ready}], "volumesInUse": list(in_use)}
    return {"metadata": {"name": name, "annotations": annotations}, "spec": spec, "status": status}


def pod(name: str, where: str, uid: str = "") -> Obj:
    volume = {"name": "d", "persistentVolumeClaim": {"claimName": "c"}}
    meta = {"name": name, "namespace": "ns", "uid": uid or f"uid-{name}"}
    return {"metadata": meta, "spec": {"nodeName": where, "volumes": [volume]}, "status": {"phase": "Pending"}}


@pytest.fixture
async def world(api: Any, context: Any, running: Any) -> AsyncIterator[Any]:
    api.add(NODES, node("n1"))
    api.add(NODES, node("n2"))
    bound = {"volumeName": "pv", "accessModes": ["ReadWriteOnce"]}
    api.add(
        PERSISTENT_VOLUME_CLAIMS,
        {"metadata": {"name": "c", "namespace": "ns", "uid": "uid-c"}, "spec": bound, "status": {"phase": "Bound"}},
    )
    reference = {"kind": "PersistentVolumeClaim", "namespace": "ns", "name": "c", "uid": "uid-c"}
    source = {"driver": DRIVER, "volumeHandle": "h"}
    spec = {"accessModes": ["ReadWriteOnce"], "csi": source, "claimRef": reference}
    api.add(PERSISTENT_VOLUMES, {"metadata": {"name": "pv"}, "spec": spec})
    api.controller = AttachDetachController(context)
    async with running(api.controller):
        yield api


def put(api: Any, resource: Any, name: str, **fields: Any) -> None:
    """The object's status or spec, with these fields in it."""

    def edit(obj: Obj) -> None:
        for part, values in fields.items():
            obj[part] = {**obj.get(part, {}), **values}

    api.change(resource, "", name, edit)


def attachments(api: Any) -> list[Obj]:
    return list(api.all(VOLUME_ATTACHMENTS))


def answer(api: Any, **status: Any) -> None:
    """What an attacher says."""
    (found,) = attachments(api)
    put(api, VOLUME_ATTACHMENTS, found["metadata"]["name"], status={"attachError": None, **status})


def told(api: Any) -> list[tuple[str, str]]:
    return [(event["reason"], event["message"]) for event in api.all(EVENTS)]


def attached_to(api: Any, name: str) -> list[str]:
    status = api.get(NODES, "", name)["status"]
    return [each["name"] for each in status.get("volumesAttached") or ()]


async def test_an_attachment_is_asked_for_and_its_outcome_told(world: Any, wait: Any) -> None:
    world.add(PODS, pod("web", "n1"))
    await wait.until(lambda: attachments(world))
    (made,) = attachments(world)
    assert made["metadata"]["name"] == attachment_name("h", DRIVER, "n1")
    assert made["spec"] == {"attacher": DRIVER, "nodeName": "n1", "source": {"persistentVolumeName": "pv"}}
    answer(world, attached=False, attachError={"message": "no slot is free"})
    await wait.until(lambda: told(world))
    answer(world, attached=True)
    await wait.until(lambda: attached_to(world, "n1") == [NAME] and len(told(world)) == 2)
    assert sorted(told(world)) == [
        ("FailedAttachVolume", 'AttachVolume.Attach failed for volume "pv" : no slot is free'),
        ("SuccessfulAttachVolume", 'AttachVolume.Attach succeeded for volume "pv" '),
    ]


async def test_a_volume_goes_only_when_the_node_has_let_go_of_it(world: Any, wait: Any) -> None:
    world.add(PODS, pod("web", "n1"))
    await wait.until(lambda: attachments(world))
    answer(world, attached=True)
    await wait.until(lambda: attached_to(world, "n1"))
    put(world, NODES, "n1", status={"volumesInUse": [NAME]})
    world.remove(PODS, "ns", "web")
    await wait.quiet(world)
    assert attachments(world) and attached_to(world, "n1"), "it is mounted"
    world.add(PODS, pod("next", "n2"))
    await wait.until(lambda: told(world)[1:])
    start = 'Multi-Attach error for volume "pv" Volume is already exclusively attached'
    assert any(message.startswith(start) for _, message in told(world))
    put(world, NODES, "n1", status={"volumesInUse": []})
    await wait.until(lambda: [each["spec"]["nodeName"] for each in attachments(world)] == ["n2"])
    assert attached_to(world, "n1") == []


async def test_a_node_that_is_out_of_service_is_not_asked(world: Any, wait: Any) -> None:
    world.add(PODS, pod("web", "n1"))
    await wait.until(lambda: attachments(world))
    taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
    put(world, NODES, "n1", spec={"taints": [taint]}, status={"volumesInUse": [NAME]})
    world.remove(PODS, "ns", "web")
    await wait.until(lambda: not attachments(world))


async def test_a_nodes_news_of_one_volume_is_no_work_for_its_others(
    world: Any, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        source = {"driver": DRIVER, "volumeHandle": f"h{number}"}
        world.add(PERSISTENT_VOLUMES, {"metadata": {"name": f"pv{number}"}, "spec": {"csi": source}})
        spec = {"attacher": DRIVER, "nodeName": "n1", "source": {"persistentVolumeName": f"pv{number}"}}
        meta = {"name": f"va{number}", "uid": f"uid-va{number}", "finalizers": ["attacher"]}
        world.add(VOLUME_ATTACHMENTS, {"metadata": meta, "spec": spec, "status": {"attached": True}})
    await wait.quiet(world)
    asked: list[str] = []
    queue = world.controller._controller
    monkeypatch.setattr(queue, "enqueue", asked.append)
    put(world, NODES, "n1", status={"volumesInUse": [unique_name(DRIVER, "h3")]})
    await wait.until(lambda: asked)
    assert asked == ["pv3"]
    put(world, NODES, "n1", status={"volumesAttached": []})
    await wait.quiet(world)
    assert len(asked) <= 2, "the report is put right by one of them"
    put(world, NODES, "n1", status={"conditions": [{"type": "Ready", "status": "False"}]})
    await wait.until(lambda: len(asked) >= 9)
    assert set(asked) == {f"pv{number}" for number in range(8)}


async def test_drivers_that_attach_nothing_are_left_alone(world: Any, wait: Any) -> None:
    world.add(CSI_DRIVERS, {"metadata": {"name": DRIVER}, "spec": {"attachRequired": False}})
    await wait.quiet(world)
    world.add(PODS, pod("web", "n1"))
    await wait.quiet(world)
    assert not attachments(world)


async def test_the_pods_of_a_volume_that_is_used_elsewhere_learn_by_whom(world: Any, wait: Any) -> None:
    world.add(PODS, pod("web", "n1"))
    await wait.until(lambda: attachments(world))
    world.add(PODS, pod("other", "n2"))
    await wait.until(lambda: told(world))
    text = 'Multi-Attach error for volume "pv" Volume is already used by pod(s) web'
    assert told(world) == [("FailedAttachVolume", text)]


async def test_what_is_remembered_goes_with_the_attachment(world: Any, wait: Any) -> None:
    world.add(PODS, pod("web", "n1"))
    await wait.until(lambda: attachments(world))
    world.remove(PODS, "ns", "web")
    await wait.until(lambda: not attachments(world))
    await wait.quiet(world)
    made = world.controller
    assert not (made._hidden or made._unwanted or made._outcomes._seen or made._outcomes._refused)
