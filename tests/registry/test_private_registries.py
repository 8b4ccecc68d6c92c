"""Pods whose images are in private registries (Debian's docker-registry): which credentials open them, and what is said
when they do not; mirrors, certificates, tokens, layers that come slowly, torn or spoiled. Issue 10, "Must show" 4.
"""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any

import orjson
import pytest
import registry_bench as registries
from registry_world import World

from sampan.api.resources import EVENTS, PODS
from sampan.node.images.build import go_architecture

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]


async def test_a_pull_secret_of_the_pod_opens_a_registry_with_a_password(world: World) -> None:
    address = world.addresses["locked"]
    await world.secret("locked", address)
    await world.pod("by-pod", f"{address}/team/app:1", "locked")
    status = await world.ran("by-pod")
    assert status["image"] == f"{address}/team/app:1"
    assert status["imageID"] == f"{address}/team/app@{world.digests['locked']}"
    told = await world.event("by-pod", "Pulled")
    assert re.fullmatch(
        rf'Successfully pulled image "{address}/team/app:1" in \S+ \(\S+ including waiting\)\. Image size: \d+ bytes\.',
        told,
    )


async def test_a_pull_secret_of_the_service_account_is_every_pods_of_it(world: World) -> None:
    """The older form of a Secret (dockercfg), in a path of the registry, behind one that has no such registry."""
    address = world.addresses["locked"]
    await world.secret("of-account", f"https://{address}/v1/", old=True)
    await world.secret("elsewhere", "r.example")
    await world.account("puller", "elsewhere", "of-account")
    await world.pod(
        "by-account", f"{address}/team/app:1", serviceAccountName="puller", container={"imagePullPolicy": "Always"}
    )
    pod = await world.admin.get(PODS, "by-account", "default")
    assert pod["spec"]["imagePullSecrets"] == [{"name": "elsewhere"}, {"name": "of-account"}]
    await world.ran("by-account")


async def test_several_credentials_for_a_registry_are_tried_in_turn(world: World) -> None:
    address = world.addresses["locked"]
    await world.secret("stale", f"{address}/team", password="of-last-year")
    await world.secret("fresh", address)
    await world.pod("in-turn", f"{address}/team/app:1", "stale", "fresh", container={"imagePullPolicy": "Always"})
    await world.ran("in-turn")


async def test_without_credentials_or_with_bad_ones_a_pod_waits_and_says_why(world: World) -> None:
    image = f"{world.addresses['locked']}/team/app:1"
    await world.secret("wrong", world.addresses["locked"], password="not-it-7319")
    await world.pod("stranger", image)
    await world.pod("mistaken", image, "wrong")
    await world.pod("forgetful", image, "not-there")
    for name in ("stranger", "mistaken", "forgetful"):
        _, message = await world.waits(name, "ImagePullBackOff")
        assert message.startswith(f'Back-off pulling image "{image}": ErrImagePull: ')
        assert "401 Unauthorized" in message
    assert await world.event("forgetful", "FailedToRetrieveImagePullSecret") == (
        "Unable to retrieve some image pull secrets (not-there); attempting to pull the image may not succeed."
    )
    assert (await world.event("mistaken", "BackOff")) == f'Back-off pulling image "{image}"'


async def test_an_image_somebody_pulled_with_credentials_is_nobody_elses(world: World) -> None:
    image = f"{world.addresses['locked']}/team/app:1"
    await world.secret("again", world.addresses["locked"])
    await world.pod("owner", image, "again")
    await world.ran("owner")
    await world.pod("intruder", image, container={"imagePullPolicy": "Never"})
    assert await world.waits("intruder") == (
        "ErrImageNeverPull",
        f'Container image "{image}" is present with pull policy of Never but does not have the proper credentials to '
        "access the image",
    )
    await world.pod("colleague", image, "again", container={"imagePullPolicy": "Never"})
    await world.ran("colleague")
    assert await world.event("colleague", "Pulled") == (
        f'Container image "{image}" already present on machine and can be accessed by the pod'
    )


async def test_a_registry_with_a_ca_of_its_own_that_wants_a_certificate_is_reached_by_its_hosts_toml(
    world: World,
) -> None:
    await world.pod("tls", f"{world.addresses['tls']}/team/app:1")
    assert (await world.ran("tls"))["imageID"].endswith(world.digests["tls"])


async def test_a_token_server_is_asked_with_the_pull_secrets_credentials(world: World) -> None:
    address = world.addresses["token"]
    await world.secret("for-tokens", address)
    await world.pod("token", f"{address}/team/app:1", "for-tokens")
    await world.pod("no-token", f"{address}/team/app:1", container={"imagePullPolicy": "Always"})
    assert (await world.ran("token"))["imageID"].endswith(world.digests["token"])
    _, message = await world.waits("no-token", "ImagePullBackOff")
    assert "401 Unauthorized" in message or "authorization failed" in message
    assert (
        "Basic " + base64.b64encode(f"{registries.USER}:{registries.PASSWORD}".encode()).decode() in world.tokens.seen
    )


async def test_a_mirror_is_asked_before_the_registry_and_a_dead_one_is_passed_over(world: World) -> None:
    await world.pod("mirrored", "mirrored.example/team/app:1")
    status = await world.ran("mirrored")
    assert status["imageID"] == f"mirrored.example/team/app@{world.digests['open']}"


async def test_a_digest_says_which_image_whatever_the_tag(world: World) -> None:
    address, digest = world.addresses["open"], world.digests["open"]
    await world.pod("digest", f"{address}/team/app@{digest}")
    await world.pod("tag-and-digest", f"{address}/team/app:1@{digest}")
    for name in ("digest", "tag-and-digest"):
        assert (await world.ran(name))["imageID"] == f"{address}/team/app@{digest}"


async def test_an_index_of_images_gives_the_one_for_this_machine(world: World) -> None:
    image = f"{world.addresses['open']}/team/many:1"
    command = ["/bin/busybox", "sh", "-c", "cat /said >/dev/termination-log"]
    await world.pod("many", image, container={"command": command})
    status = await world.ran("many")
    assert status["state"]["terminated"]["message"] == f"of {go_architecture()}"
    assert status["imageID"] == f"{world.addresses['open']}/team/many@{world.digests['many']}"


async def test_a_credential_provider_of_the_node_is_asked_where_the_pod_has_no_secret(world: World) -> None:
    image = f"{world.addresses['locked']}/robots/app:1"
    await world.pod("robot", image)
    await world.ran("robot")
    asked = orjson.loads((world.base / "asked").read_bytes())
    assert asked["image"] == image.removesuffix(":1")


async def test_a_layer_that_comes_slowly_keeps_no_other_pod_waiting(world: World) -> None:
    proxy = world.proxies["slow"]
    proxy.cut_at = 1000
    await world.pod("slow", f"{world.addresses['slow']}/team/slow:1")
    await asyncio.wait_for(proxy.waiting.wait(), 60)
    await world.pod("beside", f"{world.addresses['open']}/team/app:1", container={"imagePullPolicy": "Always"})
    await world.ran("beside")
    reason, _ = await world.waits("slow", "ContainerCreating")
    assert reason == "ContainerCreating"
    proxy.flowing.set()
    await world.ran("slow")


async def test_layers_that_break_off_or_are_not_what_the_manifest_says_are_told_and_pulled_again(world: World) -> None:
    torn, spoiled = world.proxies["torn"], world.proxies["spoiled"]
    torn.cut_at, torn.torn, spoiled.spoiled = 1000, True, True
    images = {name: f"{world.addresses[name]}/team/{name}:1" for name in ("torn", "spoiled")}
    for name, image in images.items():
        await world.pod(name, image)
    for name, words in (("torn", "EOF|connection reset|broken pipe"), ("spoiled", "unexpected commit digest sha256:")):
        _, message = await world.waits(name, "ImagePullBackOff")
        assert message.startswith(f'Back-off pulling image "{images[name]}": ErrImagePull: ')
        assert re.search(words, message), message
        assert await world.runtime.image_status(images[name]) is None
    torn.cut_at, spoiled.spoiled = None, False
    for name, image in images.items():
        await world.pod(f"{name}-again", image)  # a pod of its own: back-off is for each
    for name in images:
        await world.ran(f"{name}-again")


def image_volume(world: World, reference: str, policy: str = "Always", **mount: str) -> dict[str, Any]:
    """The spec of a pod that shows a file of an image, tries to change it, and tells how it has it."""
    script = "cat /data/said || cat /data; touch /data/new || touch /data; grep -o ' /data .*noexec' /proc/mounts"
    return {
        "volumes": [{"name": "data", "image": {"reference": reference, "pullPolicy": policy}}],
        "container": {
            "command": ["/bin/busybox", "sh", "-c", f"({script}) >/dev/termination-log 2>&1; exit 0"],
            "volumeMounts": [{"name": "data", "mountPath": "/data", **mount}],
            "imagePullPolicy": "IfNotPresent",
        },
    }


async def test_an_image_is_a_volume_that_pods_share_and_cannot_change(world: World) -> None:
    """ImageVolume should succeed with pod and pull policy of Always [LinuxOnly] [MinimumKubeletVersion:1.35]"""
    await world.secret("for-volumes", world.addresses["token"])
    runner, files = f"{world.addresses['open']}/team/app:1", f"{world.addresses['token']}/team/app:1"
    await world.pod("reads", runner, "for-volumes", **image_volume(world, files))
    await world.pod("reads-one", runner, "for-volumes", **image_volume(world, files, "IfNotPresent", subPath="said"))
    told = {name: (await world.ran(name))["state"]["terminated"]["message"] for name in ("reads", "reads-one")}
    await world.pod("stranger-to-files", runner, **image_volume(world, files, "Never"))
    assert told["reads"].startswith("token")
    assert "/data/new: Read-only file system" in told["reads"]
    assert all(message.rstrip().endswith("noexec") for message in told.values()), told
    assert told["reads-one"].startswith("cat: ")
    assert "token" in told["reads-one"]
    reason, message = await world.waits("stranger-to-files")
    assert reason == "ErrImageNeverPull"
    assert "does not have the proper credentials" in message

    # What an ended pod had may be gone before it is deleted; afterwards it is.
    for name in ("reads", "reads-one"):
        await world.admin.delete(PODS, name, "default", grace_period_seconds=0)
    async with asyncio.timeout(60):
        while world.views() or list((world.base / "node/volumes").glob("*")):  # noqa: ASYNC110 (the agent's work)
            await asyncio.sleep(0.05)


async def test_a_volume_whose_image_is_not_there_is_what_the_containers_wait_for(world: World) -> None:
    files = f"{world.addresses['open']}/team/nowhere:1"
    await world.pod("no-files", f"{world.addresses['open']}/team/app:1", **image_volume(world, files))
    _, message = await world.waits("no-files", "ErrImagePull")
    assert "team/nowhere:1: not found" in message
    _, message = await world.waits("no-files", "ImagePullBackOff")
    assert message.startswith(f'Back-off pulling image "{files}": ErrImagePull: ')
    assert await world.event("no-files", "Pulling") == f'Pulling image "{files}"'


async def test_no_password_is_in_any_event_status_or_log(world: World) -> None:
    """The others of this module ran before it: their passwords are looked for in all that was said meanwhile."""
    await world.secret("masked", world.addresses["locked"], password="hush-4471")
    await world.pod(
        "masked", f"{world.addresses['locked']}/team/app:1", "masked", container={"imagePullPolicy": "Always"}
    )
    await world.secret("env", "of-env-9920")
    await world.pod(
        "env",
        f"{world.addresses['open']}/team/app:1",
        container={
            "command": ["/not-there"],
            "env": [
                {"name": "A", "value": "plain-1183"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "env", "key": ".dockerconfigjson"}}},
            ],
        },
    )
    await world.waits("masked", "ImagePullBackOff")
    await world.until("env", lambda pod: (pod.get("status") or {}).get("phase") == "Failed")
    said = "\n".join(world.said)
    said += orjson.dumps(await world.admin.list(EVENTS, "default")).decode()
    said += orjson.dumps([pod["status"] for pod in (await world.admin.list(PODS, "default"))["items"]]).decode()
    logs = [*world.base.glob("*/*.log")]  # and no deeper: what containers leave comes and goes
    said += "\n".join(log.read_text(errors="replace") for log in logs)
    assert {"containerd.log", "registry.log"} <= {log.name for log in logs}
    assert f"{world.addresses['locked']}/team/app:1" in said
    for password in ("hush-4471", registries.PASSWORD, "not-it-7319", "of-last-year", "of-env-9920", "plain-1183"):
        assert password not in said
        assert base64.b64encode(f"{registries.USER}:{password}".encode()).decode() not in said
