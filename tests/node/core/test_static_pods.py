"""Static pods: a folder's files are run, shown by mirrors, and end when their files go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sampan.node.staticpods.folder import FILE_LIMIT_BYTES, Look, look
from sampan.node.staticpods.manifests import BadManifest, read

MIRROR = "/api/v1/namespaces/default/pods/web-n1"
MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: "demo:1", env: [{name: V, value: "%s"}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "manifests"
    made.mkdir()
    return made


async def begin(world: Any, folder: Path) -> None:
    """An agent that has a folder."""
    await world.stop()
    world.config = replace(world.config, static_pod_dir=folder)
    await world.start()


def mirror(world: Any) -> Any:
    return world.api.objects[MIRROR]


def annotations(world: Any) -> Any:
    return mirror(world)["metadata"]["annotations"]


async def ready(world: Any) -> None:
    await world.api.until(lambda: world.api.condition(MIRROR, "Ready") == "True")


async def test_a_file_is_run_and_shown_by_a_mirror(world: Any, folder: Path) -> None:
    """[sig-node] Mirror pods: a static pod has a mirror that belongs to the node."""
    (folder / "web.yaml").write_text(MANIFEST % "1")
    await begin(world, folder)
    await ready(world)
    [running] = world.running()
    found = annotations(world)
    assert found["kubernetes.io/config.source"] == "file"
    assert found["kubernetes.io/config.mirror"] == found["kubernetes.io/config.hash"]
    assert found["kubernetes.io/config.seen"].startswith("2026-")
    [owner] = mirror(world)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Node", "n1", True)
    labels = world.runtime.config_of(running).labels
    assert labels["io.kubernetes.pod.uid"] == found["kubernetes.io/config.hash"]
    assert {"operator": "Exists", "effect": "NoExecute"} in mirror(world)["spec"]["tolerations"]


async def test_who_deletes_a_mirror_gets_another_and_ends_nothing(world: Any, folder: Path) -> None:
    (folder / "web.yaml").write_text(MANIFEST % "1")
    await begin(world, folder)
    await ready(world)
    before, uid = world.running(), mirror(world)["metadata"]["uid"]
    world.api.delete(MIRROR)
    await world.api.until(lambda: mirror(world)["metadata"]["uid"] != uid)
    await ready(world)
    world.api.delete(MIRROR, {"gracePeriodSeconds": 0})
    await ready(world)
    assert world.running() == before


async def test_a_changed_file_is_another_pod_that_begins_when_the_first_has_ended(world: Any, folder: Path) -> None:
    (folder / "web.yaml").write_text(MANIFEST % "1")
    await begin(world, folder)
    await ready(world)
    before, shown = world.running(), annotations(world)["kubernetes.io/config.hash"]
    (folder / "web.yaml").write_text(MANIFEST % "22")
    await world.api.until(lambda: annotations(world)["kubernetes.io/config.hash"] != shown)
    await ready(world)
    [after] = world.running()
    assert [after] != before and ("V", "22") in world.runtime.config_of(after).env


async def test_without_its_file_a_static_pod_ends_and_its_mirror_goes(world: Any, folder: Path) -> None:
    (folder / "web.yaml").write_text(MANIFEST % "1")
    await begin(world, folder)
    await ready(world)
    (folder / "web.yaml").unlink()
    await world.api.until(lambda: MIRROR not in world.api.objects and not world.running())
    assert not [sandbox for sandbox in await world.runtime.list_sandboxes() if sandbox.ready]


async def test_an_agent_that_restarts_goes_on_with_what_runs(world: Any, folder: Path) -> None:
    (folder / "web.yaml").write_text(MANIFEST % "1")
    await begin(world, folder)
    await ready(world)
    before, uid = world.running(), mirror(world)["metadata"]["uid"]
    await world.stop()
    await world.start()
    await asyncio.sleep(100)
    assert world.running() == before and mirror(world)["metadata"]["uid"] == uid


async def test_a_bad_file_is_told_of_once_and_what_ran_from_it_goes_on(world: Any, folder: Path) -> None:
    (folder / "web.yaml").write_text(MANIFEST % "1")
    (folder / "bad.yaml").write_text("apiVersion: v1\nkind: Service\n")
    await begin(world, folder)
    await ready(world)
    before = world.running()
    (folder / "web.yaml").write_text("apiVersion: v1\nkind: [")
    await world.api.until(lambda: world.api.reasons().count("FailedStaticPod") == 2)
    await asyncio.sleep(100)
    assert world.running() == before and world.api.reasons().count("FailedStaticPod") == 2
    assert any("it is no Pod of v1" in text for text in world.api.messages())


async def test_a_static_pod_is_not_refused_for_a_taint_that_ends_others(world: Any, folder: Path) -> None:
    world.config = replace(world.config, taints=({"key": "k", "effect": "NoExecute"},))
    (folder / "web.yaml").write_text(MANIFEST % "1")
    await begin(world, folder)
    await ready(world)
    assert len(world.running()) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"serviceAccountName": "s"}, "static pods may not reference serviceaccounts"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "static pods may not reference secrets"),
        ({"containers": []}, "spec.containers: Required value"),
        ({"containers": 7}, "cannot be handled as a Pod"),
    ],
)
def test_what_no_static_pod_may_be_is_refused_by_name(change: Any, why: str) -> None:
    import orjson

    spec = {"containers": [{"name": "c", "image": "i"}], **change}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    with pytest.raises(BadManifest, match=why):
        read(orjson.dumps(manifest), "f", "n1", "2026-01-01T00:00:00Z")


def test_a_look_leaves_alone_what_is_no_file_and_takes_no_more_than_its_bounds(folder: Path) -> None:
    (folder / ".hidden.yaml").write_text(MANIFEST % "1")
    (folder / "below").mkdir()
    (folder / "large.yaml").write_bytes(b"#" * (FILE_LIMIT_BYTES + 1))
    (folder / "web.yaml").write_text(MANIFEST % "1")
    found = look(folder, Look(), "n1", "2026-01-01T00:00:00Z")
    assert sorted(found.files) == ["large.yaml", "web.yaml"]
    assert [pod["metadata"]["name"] for pod in found.pods()] == ["web-n1"]
    assert "more than" in found.files["large.yaml"].fault
    again = look(folder, found, "n1", "2027-01-01T00:00:00Z")
    assert again.files["web.yaml"] is found.files["web.yaml"]
    assert look(folder / "absent", found, "n1", "").pods() == []
