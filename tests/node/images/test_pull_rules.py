"""How many pulls there are at once and a second, whose credentials are asked for when, and who must show some."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.clock import FixedClock
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.hollow import hollow_machine
from sampan.node.host import Disk
from sampan.node.host_memory import MemoryHost
from sampan.node.images.collect import Collector
from sampan.node.images.credentials import NO_SECRETS, PullSecrets
from sampan.node.images.manager import ImageError, ImageManager
from sampan.node.images.provider_config import Provider
from sampan.node.images.providers import CredentialProviders
from sampan.node.images.pulls import Pace, SharedPulls
from sampan.node.images.verification import Verification
from sampan.node.simulated import SimulatedRuntime
from sampan.testing import virtual

IMAGE = "r.example/team/app:1"


class Registry:
    """Of a runtime its pulls: each takes as long as somebody says."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began: list[float] = []
        self.now = self.most = 0

    async def pull_image(self, reference: str, auth: runtime.RegistryAuth | None = None) -> str:
        self.began.append(asyncio.get_running_loop().time())
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        return reference


def pulled(pace: Pace, images: int, seconds: float) -> tuple[Registry, list[float]]:
    """What a registry saw of pulls that were asked for at once, and how long each was told to take."""
    registry = Registry(seconds)

    async def run() -> list[float]:
        pulls = SharedPulls(registry, pace)  # type: ignore[arg-type]  # all that is asked of it
        found = await asyncio.gather(*(pulls.pull(f"r.example/{number}", ()) for number in range(images)))
        return [each.seconds for each in found]

    return registry, virtual.run(run())


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_pulls_than_the_node_was_told_go_on_at_once(at_once: int) -> None:
    registry, took = pulled(Pace(at_once=at_once), 7, 10.0)
    assert registry.most == at_once
    assert took == [10.0] * 7, "waiting is not pulling"


def test_pulls_a_second_are_counted_after_a_burst() -> None:
    registry, _ = pulled(Pace(per_second=2, burst=3), 7, 0.0)
    assert registry.began == pytest.approx([0, 0, 0, 0.5, 1.0, 1.5, 2.0])


def test_without_a_number_pulls_come_as_they_come() -> None:
    assert pulled(Pace(), 7, 0.0)[0].began == [0.0] * 7


@pytest.mark.parametrize(
    ("policy", "allowlist", "preloaded", "required"),
    [
        ("NeverVerify", (), False, False),
        ("NeverVerifyPreloadedImages", (), True, False),
        ("NeverVerifyPreloadedImages", (), False, True),
        ("NeverVerifyAllowlistedImages", ("r.example/team/*",), True, False),
        ("NeverVerifyAllowlistedImages", ("r.example/team/app",), True, False),
        ("NeverVerifyAllowlistedImages", ("r.example/team",), True, True),
        ("NeverVerifyAllowlistedImages", ("r.example/team/*",), False, True),
        ("AlwaysVerify", (), True, True),
    ],
)
def test_who_must_show_credentials_is_the_nodes_policy(
    policy: str, allowlist: tuple[str, ...], preloaded: bool, required: bool
) -> None:
    verification = Verification(policy, allowlist)
    verification.check()
    assert verification.required("r.example/team/app", preloaded=preloaded) == required


@pytest.mark.parametrize(
    ("policy", "allowlist", "words"),
    [
        ("Sometimes", (), "is none of NeverVerify, "),
        ("AlwaysVerify", ("r.example/app",), "goes with the policy NeverVerifyAllowlistedImages alone"),
        ("NeverVerifyAllowlistedImages", ("r.example/app:1",), "is no name of an image without tag"),
        ("NeverVerifyAllowlistedImages", ("r.example/*/app",), "is no name of an image without tag"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(policy: str, allowlist: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Verification(policy, allowlist).check()


@pytest.fixture
def simulated() -> SimulatedRuntime:
    made = SimulatedRuntime(FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))
    made.private[IMAGE] = {"robot": "pw", "tenant": "pw"}
    return made


def pod(uid: str) -> Any:
    return {"metadata": {"uid": uid, "namespace": "default", "name": uid}, "spec": {}}


def secret(user: str) -> PullSecrets:
    entry = {"auths": {"r.example": {"username": user, "password": "pw"}}}
    data = base64.b64encode(orjson.dumps(entry)).decode()
    kind = "kubernetes.io/dockerconfigjson"
    return PullSecrets(({"metadata": {"uid": user}, "type": kind, "data": {".dockerconfigjson": data}},))


async def ensure(manager: ImageManager, uid: str, policy: str = "IfNotPresent", secrets: Any = NO_SECRETS) -> None:
    container = {"name": "c", "image": IMAGE, "imagePullPolicy": policy}
    await manager.ensure(pod(uid), container, lambda *told: None, secrets)


def robots(asked: list[str]) -> CredentialProviders:
    provider = Provider("robots", Path("/bin/robots"), "v1", ("r.example",), 0.0)

    async def ask(which: Provider, request: Any) -> bytes:
        asked.append(request["image"])
        auth = {"r.example": {"username": "robot", "password": "pw"}}
        answer = {"kind": "CredentialProviderResponse", "apiVersion": "v1", "cacheKeyType": "Registry", "auth": auth}
        return orjson.dumps(answer)

    return CredentialProviders([provider], None, ask=ask)  # type: ignore[arg-type]  # it wants no account


async def test_a_credential_provider_opens_a_registry_for_every_pod_of_the_node(simulated: Any) -> None:
    asked: list[str] = []
    manager = ImageManager(simulated, providers=robots(asked))
    await ensure(manager, "one")
    await ensure(manager, "two", "Never")
    assert asked == ["r.example/team/app"], "what everybody may run is not asked for"


async def test_a_provider_is_asked_when_the_pods_own_credentials_are_not_those_that_pulled(simulated: Any) -> None:
    asked: list[str] = []
    manager = ImageManager(simulated, providers=robots(asked))
    await ensure(ImageManager(simulated), "before", secrets=secret("tenant"))
    await ensure(manager, "one", "Always", secret("nobody"))
    assert asked == ["r.example/team/app"]


async def test_no_provider_is_asked_while_a_pull_that_failed_is_paused(simulated: Any) -> None:
    simulated.private[IMAGE] = {"somebody": "else"}
    asked: list[str] = []
    manager = ImageManager(simulated, providers=robots(asked))
    for reason in ("ErrImagePull", "ImagePullBackOff", "ImagePullBackOff"):
        with pytest.raises(ImageError) as caught:
            await ensure(manager, "one")
        assert caught.value.reason == reason
    assert len(asked) == 1


async def test_an_image_put_here_by_hand_is_for_all_but_where_the_policy_says_otherwise(simulated: Any) -> None:
    simulated.add_image(IMAGE)
    await ensure(ImageManager(simulated), "usual", "Never")
    strict = ImageManager(simulated, verification=Verification("AlwaysVerify"))
    with pytest.raises(ImageError, match="does not have the proper credentials"):
        await ensure(strict, "stranger", "Never")
    await ensure(strict, "tenant", secrets=secret("tenant"))
    await ensure(strict, "tenant-again", "Never", secret("tenant"))


async def test_an_image_that_a_volume_is_of_is_held_until_its_last_pod_lets_go(simulated: Any) -> None:
    manager = ImageManager(simulated)
    manager.hold("one", "sha256:a")
    manager.hold("one", "sha256:b")
    manager.hold("two", "sha256:a")
    manager.let_go("one")
    assert manager.held() == {"sha256:a"}
    manager.let_go("two")
    manager.let_go("two")
    assert manager.held() == set()


async def test_what_a_volume_is_of_is_not_collected() -> None:
    simulated = SimulatedRuntime(FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))
    ids = [simulated.add_image(name) for name in ("r.example/volume:1", "r.example/unused:1")]
    manager, host = ImageManager(simulated), MemoryHost(hollow_machine("n"))
    host.present_disk = Disk(total_bytes=1000, free_bytes=0)
    manager.hold("pod", ids[0])
    collector = Collector(NodeConfig(node_name="n", addresses=()), simulated, manager, host, lambda *told: None)
    await collector.collect()
    assert [image.id for image in await simulated.list_images()] == [ids[0]]


async def test_a_node_may_give_private_images_to_everybody(simulated: Any) -> None:
    manager = ImageManager(simulated, verification=Verification("NeverVerify"))
    await ensure(manager, "tenant", secrets=secret("tenant"))
    await ensure(manager, "anybody", "Never")
