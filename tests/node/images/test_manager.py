"""A container's image is made present by its policy; who may use it, who waits for whom, and how failures are told."""

from __future__ import annotations

import asyncio
import base64
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.clock import FixedClock
from sampan.node import runtime
from sampan.node.images import manager as manager_module
from sampan.node.images.credentials import PullSecrets, pull_secrets
from sampan.node.images.manager import ImageError, ImageManager
from sampan.node.images.records import FileRecords, put_by_hand
from sampan.node.images.verification import Verification
from sampan.node.simulated import SimulatedRuntime

REFERENCE = "r.example/app:1"


class Events(list[str]):
    def __call__(self, kind: str, reason: str, message: str) -> None:
        self.append(f"{kind} {reason} {message}")


def pod(uid: str = "u1") -> Any:
    return {"metadata": {"uid": uid, "namespace": "default", "name": uid}, "spec": {}}


def container(image: str = REFERENCE, policy: str = "IfNotPresent") -> Any:
    return {"name": "c", "image": image, "imagePullPolicy": policy}


def secrets(user: str, name: str = "s", registry: str = "r.example") -> PullSecrets:
    auths = {"auths": {registry: {"username": user, "password": "pw"}}}
    data = base64.b64encode(orjson.dumps(auths)).decode()
    meta = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    kind = "kubernetes.io/dockerconfigjson"
    return PullSecrets(({"metadata": meta, "type": kind, "data": {".dockerconfigjson": data}},))


@pytest.fixture
def simulated() -> SimulatedRuntime:
    return SimulatedRuntime(FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))


async def refused(work: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        await work
    return caught.value


async def until_pulling(simulated: SimulatedRuntime, number: int) -> None:
    async with asyncio.timeout(30):
        while len(simulated.pulling) != number:  # noqa: ASYNC110 (a simulation)
            await asyncio.sleep(0)


async def test_an_image_that_is_present_is_not_pulled(simulated: Any) -> None:
    simulated.add_image("docker.io/library/a:1")
    simulated.failures["pull_image"] = [runtime.RuntimeCallError("must not")]
    events = Events()
    await ImageManager(simulated).ensure(pod(), container("a:1"), events)
    assert events == ['Normal Pulled Container image "a:1" already present on machine and can be accessed by the pod']


async def test_an_image_that_was_built_anew_under_its_name_is_what_the_next_pod_gets(simulated: Any) -> None:
    manager = ImageManager(simulated)
    old = simulated.add_image(REFERENCE)
    assert (await manager.ensure(pod("u1"), container(), Events())).id == old
    await simulated.remove_image(old)
    new = runtime.Image("sha256:new", (REFERENCE,), (), 1)
    simulated._images[new.id] = new
    assert (await manager.ensure(pod("u2"), container(), Events())).id == "sha256:new"


async def test_never_means_never(simulated: Any) -> None:
    error = await refused(ImageManager(simulated).ensure(pod(), container("a:1", "Never"), Events()))
    assert error.reason == "ErrImageNeverPull"
    assert error.message == 'Container image "a:1" is not present with pull policy of Never'


async def test_a_bad_name_is_refused(simulated: Any) -> None:
    error = await refused(ImageManager(simulated).ensure(pod(), container("UPPER"), Events()))
    assert error.reason == "InvalidImageName"
    assert error.message == (
        'Failed to apply default image tag "UPPER": couldn\'t parse image name "UPPER": invalid reference format: '
        "repository name (library/UPPER) must be lowercase"
    )


async def test_a_runtime_that_cannot_tell_is_an_inspect_error(simulated: Any) -> None:
    simulated.failures["image_status"] = [runtime.RuntimeCallError("broken")]
    events = Events()
    error = await refused(ImageManager(simulated).ensure(pod(), container("a:1"), events))
    assert (error.reason, error.message) == ("ImageInspectError", 'Failed to inspect image "a:1": broken')
    assert events == ['Warning InspectFailed Failed to inspect image "a:1": broken']


# Failures and pauses.


async def test_a_failed_pull_backs_off_for_that_pod_and_no_other(simulated: Any) -> None:
    simulated.registry = set()
    manager, events = ImageManager(simulated), Events()
    reasons = [(await refused(manager.ensure(pod(uid), container(), events))).reason for uid in ("u1", "u1", "u2")]
    assert reasons == ["ErrImagePull", "ImagePullBackOff", "ErrImagePull"]
    assert events.count(f'Normal BackOff Back-off pulling image "{REFERENCE}"') == 1


async def test_a_back_off_repeats_what_was_wrong(simulated: Any) -> None:
    simulated.registry = set()
    manager = ImageManager(simulated)
    first = await refused(manager.ensure(pod(), container(), Events()))
    second = await refused(manager.ensure(pod(), container(), Events()))
    assert second.message == f'Back-off pulling image "{REFERENCE}": ErrImagePull: {first.message}'


@pytest.mark.parametrize(
    ("said", "reason", "message"),
    [
        ("rpc error: code = Unknown desc = failed to resolve", "ErrImagePull", "failed to resolve"),
        (
            "rpc error: code = NotFound desc = no such image",
            "ErrImagePull",
            "rpc error: code = NotFound desc = no such image",
        ),
        (
            "rpc error: code = Unknown desc = RegistryUnavailable: try later",
            "RegistryUnavailable",
            f"image pull failed for {REFERENCE} because the registry is unavailable: try later",
        ),
        (
            "rpc error: code = Unknown desc = SignatureValidationFailed: no key",
            "SignatureValidationFailed",
            f"image pull failed for {REFERENCE} because the signature validation failed: no key",
        ),
    ],
)
async def test_a_runtimes_error_is_told_as_the_kubelet_tells_it(
    simulated: Any, said: str, reason: str, message: str
) -> None:
    simulated.failures["pull_image"] = [runtime.RuntimeCallError(said)]
    error = await refused(ImageManager(simulated).ensure(pod(), container(), Events()))
    assert (error.reason, error.message) == (reason, message)


# Credentials.


async def test_credentials_are_tried_one_after_the_other(simulated: Any) -> None:
    simulated.private[REFERENCE] = {"right": "pw"}
    two = PullSecrets(secrets("wrong", "a").found + secrets("right", "b").found)
    assert (await ImageManager(simulated).ensure(pod(), container(), Events(), two)).tags == (REFERENCE,)


async def test_a_pull_secret_that_cannot_be_read_is_told_and_not_waited_for(simulated: Any) -> None:
    [broken] = secrets("u").found
    auths = orjson.dumps({"auths": {"r.example": {"auth": "%%%"}}})
    broken = {**broken, "data": {".dockerconfigjson": base64.b64encode(auths).decode()}}
    events = Events()
    error = await refused(ImageManager(simulated).ensure(pod(), container(), events, PullSecrets((broken,))))
    assert (error.reason, error.message) == ("ErrImagePull", "unable to parse auth field, it is not base64")
    assert events == [
        f'Warning Failed Failed to pull image "{REFERENCE}": unable to parse auth field, it is not base64'
    ]


async def test_secrets_that_are_missing_are_named() -> None:
    class Source:
        async def get_secret(self, namespace: str, name: str) -> Any:
            from sampan.api.errors import NotFound

            if name.startswith("absent"):
                raise NotFound(f'secrets "{name}" not found')
            return {"metadata": {"name": name}}

    asked = {
        "metadata": {"namespace": "default"},
        "spec": {"imagePullSecrets": [{"name": "absent1"}, {"name": "here"}]},
    }
    asked["spec"]["imagePullSecrets"] += [{"name": "absent2"}, {}]  # type: ignore[operator, index]
    found = await pull_secrets(asked, Source())  # type: ignore[arg-type]  # the one method that is used
    assert [each["metadata"]["name"] for each in found.found] == ["here"]
    assert found.complaint == (
        "Unable to retrieve some image pull secrets (absent1, absent2); attempting to pull the image may not succeed."
    )


async def test_whoever_lacks_the_credentials_does_not_join_anothers_pull(simulated: Any) -> None:
    simulated.private[REFERENCE] = {"tenant": "pw"}
    manager = ImageManager(simulated)
    asked = container(policy="Always")
    tenant, stranger = await asyncio.gather(
        manager.ensure(pod("u1"), asked, Events(), secrets("tenant")),
        manager.ensure(pod("u2"), asked, Events()),
        return_exceptions=True,
    )
    assert isinstance(tenant, runtime.Image)
    assert isinstance(stranger, ImageError)
    assert stranger.message.endswith("401 Unauthorized")


async def test_pods_with_the_same_credentials_share_one_pull(simulated: Any) -> None:
    simulated.delays.pull_image = 3600
    manager = ImageManager(simulated)
    askers = [asyncio.create_task(manager.ensure(pod(f"u{n}"), container(), Events())) for n in range(3)]
    await until_pulling(simulated, 1)
    for asker in askers:
        asker.cancel()
    await asyncio.gather(*askers, return_exceptions=True)


async def test_a_pull_ends_with_the_last_who_asked_for_it(simulated: Any) -> None:
    simulated.delays.pull_image = 3600
    manager = ImageManager(simulated)
    askers = [asyncio.create_task(manager.ensure(pod(f"u{n}"), container(), Events())) for n in range(2)]
    await until_pulling(simulated, 1)
    askers[0].cancel()
    await asyncio.gather(askers[0], return_exceptions=True)
    assert simulated.pulling == [REFERENCE]
    askers[1].cancel()
    await asyncio.gather(askers[1], return_exceptions=True)
    await until_pulling(simulated, 0)


async def test_who_asks_while_a_pull_is_being_cancelled_gets_one_of_its_own(simulated: Any) -> None:
    simulated.delays.pull_image = 3600
    manager = ImageManager(simulated)
    first = asyncio.create_task(manager.ensure(pod("u1"), container(), Events()))
    await until_pulling(simulated, 1)
    first.cancel()
    simulated.delays.pull_image = 0
    second = asyncio.create_task(manager.ensure(pod("u2"), container(), Events()))
    assert (await second).tags == (REFERENCE,)
    with pytest.raises(asyncio.CancelledError):
        await first


# Who may use an image that is here.


@pytest.mark.parametrize("policy", ["IfNotPresent", "Never"])
async def test_a_private_image_is_not_for_pods_without_its_credentials(simulated: Any, policy: str) -> None:
    simulated.private[REFERENCE] = {"tenant": "pw"}
    manager = ImageManager(simulated)
    await manager.ensure(pod("u1"), container(), Events(), secrets("tenant"))
    error = await refused(manager.ensure(pod("u2"), container(policy=policy), Events()))
    if policy == "Never":
        assert error.reason == "ErrImageNeverPull"
        assert error.message == (
            f'Container image "{REFERENCE}" is present with pull policy of Never but does not have the proper '
            "credentials to access the image"
        )
    else:
        assert error.reason == "ErrImagePull"


async def test_a_private_image_is_for_pods_with_its_credentials_from_whatever_secret(simulated: Any) -> None:
    simulated.private[REFERENCE] = {"tenant": "pw"}
    manager, events = ImageManager(simulated), Events()
    await manager.ensure(pod("u1"), container(), Events(), secrets("tenant", "one"))
    await manager.ensure(pod("u2"), container(policy="Never"), events, secrets("tenant", "two"))
    assert events == [
        f'Normal Pulled Container image "{REFERENCE}" already present on machine and can be accessed by the pod'
    ]


async def test_a_secret_whose_password_was_changed_still_opens_what_it_had_pulled(simulated: Any) -> None:
    simulated.private[REFERENCE] = {"tenant": "pw"}
    manager = ImageManager(simulated)
    await manager.ensure(pod("u1"), container(), Events(), secrets("tenant", "one"))
    await manager.ensure(pod("u2"), container(policy="Never"), Events(), secrets("renamed", "one"))
    await manager.ensure(pod("u3"), container(policy="Never"), Events(), secrets("renamed", "three"))


async def test_what_the_registry_gives_to_everybody_is_everybodys(simulated: Any) -> None:
    manager = ImageManager(simulated)
    await manager.ensure(pod("u1"), container(), Events())
    await manager.ensure(pod("u2"), container(policy="Never"), Events())


async def test_who_may_use_an_image_outlives_the_agent(simulated: Any, tmp_path: Path) -> None:
    simulated.private[REFERENCE] = {"tenant": "pw"}
    await ImageManager(simulated, records=FileRecords(tmp_path)).ensure(
        pod("u1"), container(), Events(), secrets("tenant")
    )
    again = ImageManager(simulated, records=FileRecords(tmp_path))
    assert (await refused(again.ensure(pod("u2"), container(policy="Never"), Events()))).reason == "ErrImageNeverPull"
    await again.ensure(pod("u3"), container(policy="Never"), Events(), secrets("tenant"))
    assert not any(b"pw" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


async def test_an_image_whose_pull_outlived_its_agent_is_not_taken_for_one_put_here_by_hand(
    simulated: Any, tmp_path: Path
) -> None:
    simulated.delays.pull_image = 3600
    first = ImageManager(simulated, records=FileRecords(tmp_path))
    asker = asyncio.create_task(first.ensure(pod("u1"), container(), Events(), secrets("tenant")))
    await until_pulling(simulated, 1)
    simulated.add_image(REFERENCE)  # the runtime carried it through
    again = ImageManager(simulated, records=FileRecords(tmp_path))
    assert (await refused(again.ensure(pod("u2"), container(policy="Never"), Events()))).reason == "ErrImageNeverPull"
    asker.cancel()
    await asyncio.gather(asker, return_exceptions=True)


async def test_a_pull_that_was_broken_off_leaves_nothing_in_the_way_of_an_image_put_here_by_hand(
    simulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.node.images.manager._BROKEN_OFF_SECONDS", 0)
    simulated.delays.pull_image = 3600
    manager = ImageManager(simulated)
    asker = asyncio.create_task(manager.ensure(pod("u1"), container(), Events()))
    await until_pulling(simulated, 1)
    asker.cancel()
    await asyncio.gather(asker, return_exceptions=True)
    await asyncio.gather(*manager._settling)
    simulated.add_image(REFERENCE)
    await manager.ensure(pod("u2"), container(policy="Never"), Events())


async def test_records_go_with_their_images(simulated: Any, tmp_path: Path) -> None:
    manager = ImageManager(simulated, records=FileRecords(tmp_path))
    await manager.ensure(pod("u1"), container(), Events())
    assert len(list((tmp_path / "pulled").iterdir())) == 1
    assert list((tmp_path / "pulling").iterdir()) == []
    for image in await simulated.list_images():
        await simulated.remove_image(image.id)
    await manager.present()
    assert list((tmp_path / "pulled").iterdir()) == []


async def test_an_image_put_here_by_hand_stays_everybodys_when_a_pod_pulls_the_same_one_with_a_secret(
    simulated: Any, tmp_path: Path
) -> None:
    store, manager = FileRecords(tmp_path), ImageManager(simulated, records=FileRecords(tmp_path))
    simulated.private[REFERENCE] = {"tenant": "pw"}
    found = await manager.ensure(pod("u1"), container(), Events(), secrets("tenant"))
    simulated._images[found.id] = runtime.Image(found.id, (REFERENCE, "localhost/mine:1"), (), 1)
    mine = container("localhost/mine:1", "Never")
    assert (await refused(manager.ensure(pod("u2"), mine, Events()))).reason == "ErrImageNeverPull"

    await put_by_hand(store, "localhost/mine:1", [found.id])
    await manager.ensure(pod("u3"), mine, Events())
    other = await refused(manager.ensure(pod("u4"), container(policy="Never"), Events()))
    assert other.reason == "ErrImageNeverPull"  # under the name that was pulled, it is the tenant's

    strict = ImageManager(simulated, records=store, verification=Verification("AlwaysVerify"))
    assert (await refused(strict.ensure(pod("u5"), mine, Events()))).reason == "ErrImageNeverPull"


async def test_what_was_put_here_by_hand_is_forgotten_with_its_name_and_with_its_image(
    simulated: Any, tmp_path: Path
) -> None:
    store, manager = FileRecords(tmp_path), ImageManager(simulated, records=FileRecords(tmp_path))
    image_id = simulated.add_image(REFERENCE)
    for name in (REFERENCE, "localhost/mine:1"):
        await put_by_hand(store, name, [image_id])
    await put_by_hand(store, "localhost/mine:1", [])
    await manager.present()
    assert list(await store.load("by-hand")) == [REFERENCE]
    await simulated.remove_image(image_id)
    await manager.present()
    assert await store.load("by-hand") == {}


async def test_an_image_that_was_pulled_while_images_were_listed_stays_its_owners(
    simulated: Any, tmp_path: Path
) -> None:
    manager = ImageManager(simulated, records=FileRecords(tmp_path))
    real = simulated.list_images

    async def list_slowly() -> list[runtime.Image]:
        found: list[runtime.Image] = await real()
        await manager.ensure(pod("u1"), container(), Events(), secrets("owner"))
        return found

    simulated.list_images = list_slowly
    assert await manager.present() == []
    assert len(list((tmp_path / "pulled").iterdir())) == 1
    error = await refused(manager.ensure(pod("u2"), container(policy="Never"), Events()))
    assert error.reason == "ErrImageNeverPull"


async def test_a_disk_that_takes_no_record_is_told_in_words(simulated: Any, tmp_path: Path) -> None:
    (tmp_path / "pulling").write_text("a file where a folder should be")
    manager = ImageManager(simulated, records=FileRecords(tmp_path))
    error = await refused(manager.ensure(pod("u1"), container(), Events()))
    assert error.message == (f'Failed to record image pull intent for container image "{REFERENCE}": file exists')


async def test_a_long_pull_secret_is_looked_through_beside_the_loop(simulated: Any, monkeypatch: Any) -> None:
    """Whoever may make Secrets must not stop the node."""
    threads = []
    look = manager_module.find_credentials

    def looked(*given: Any) -> Any:
        threads.append(threading.current_thread())
        return look(*given)

    monkeypatch.setattr(manager_module, "find_credentials", looked)
    manager = ImageManager(simulated)
    auths = {f"r{number}.example": {"username": "u", "password": "p"} for number in range(1000)}
    content = base64.b64encode(orjson.dumps({"auths": auths})).decode()
    long = {
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "s", "namespace": "default", "uid": "s"},
        "data": {".dockerconfigjson": content},
    }
    await manager.ensure(pod(), container(policy="Always"), lambda *event: None, PullSecrets((long,)))
    await manager.ensure(pod(), container(policy="Always"), lambda *event: None, secrets("me"))
    assert [thread is threading.main_thread() for thread in threads] == [False, True]


@pytest.mark.parametrize("kind", ["pulled", "pulling"])
async def test_an_image_whose_record_was_spoiled_is_nobodys_until_it_is_pulled_again(
    simulated: Any, tmp_path: Path, kind: str
) -> None:
    """Else a private image were everybody's after the power went."""
    image = await simulated.pull_image(REFERENCE, None)
    present = await simulated.image_status(image)
    store = FileRecords(tmp_path)
    key = present.id if kind == "pulled" else REFERENCE
    await store.write(kind, key, {})  # type: ignore[arg-type]
    (spoiled,) = (tmp_path / kind).iterdir()
    spoiled.write_bytes(b"")
    manager = ImageManager(simulated, records=store)
    told = Events()
    await manager.ensure(pod(), container(), told, secrets("me"))
    assert "Normal Pulling" in told[0]
    error = await refused(manager.ensure(pod("u2"), container(policy="Never"), Events()))
    assert error.reason == "ErrImageNeverPull"
    del told[:]
    await manager.ensure(pod(), container(), told, secrets("me"))
    assert "already present on machine" in told[0]
