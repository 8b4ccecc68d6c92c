from __future__ import annotations

import base64
import io
import json
import tarfile
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.node import runtime
from sampan.node.images.build import File, ImageConfig, build_image
from sampan.node.images.collect import plan_collection
from sampan.node.images.credentials import matching_auths, parse_docker_config
from sampan.node.images.manager import ImageError, ImageManager, default_policy, normalize_reference
from sampan.node.simulated import SimulatedRuntime


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1", "docker.io/library/busybox:1"),
        ("me/app", "docker.io/me/app:latest"),
        ("registry.example:5000/a/b:c", "registry.example:5000/a/b:c"),
        ("localhost/app", "localhost/app:latest"),
        ("sampan.local/demo:1", "sampan.local/demo:1"),
        ("a@sha256:" + "0" * 64, "docker.io/library/a@sha256:" + "0" * 64),
    ],
)
def test_references_are_completed(image: str, reference: str) -> None:
    assert normalize_reference(image) == reference


@pytest.mark.parametrize("image", ["", "UPPER", "a b", "a:b:c", "http://a/b", "-a"])
def test_bad_references_are_refused(image: str) -> None:
    with pytest.raises(ValueError, match="invalid reference"):
        normalize_reference(image)


def test_the_default_policy_follows_the_tag() -> None:
    assert default_policy("a") == default_policy("a:latest") == "Always"
    assert default_policy("a:1") == default_policy("a@sha256:" + "0" * 64) == "IfNotPresent"


def test_an_image_is_the_same_every_time_and_names_its_layers() -> None:
    def build() -> bytes:
        files = {"bin/sh": File(b"#!", 0o755), "etc/x": File(link="y")}
        return build_image("a.example/b:1", [files], ImageConfig(entrypoint=["/bin/sh"]), "amd64")

    assert build() == build()
    with tarfile.open(fileobj=io.BytesIO(build())) as tar:
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]  # a regular file
        digest = index["manifests"][0]["digest"].removeprefix("sha256:")
        manifest = json.loads(tar.extractfile(f"blobs/sha256/{digest}").read())  # type: ignore[union-attr]
        layer = tar.extractfile(f"blobs/sha256/{manifest['layers'][0]['digest'].removeprefix('sha256:')}")
        assert layer is not None
        with tarfile.open(fileobj=io.BytesIO(layer.read())) as inner:
            assert inner.getnames() == ["bin", "bin/sh", "etc", "etc/x"]
            assert inner.getmember("bin/sh").mode == 0o755
            assert inner.getmember("etc/x").linkname == "y"
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "a.example/b:1"


def test_credentials_match_the_longest_registry_path() -> None:
    config = {
        "auths": {
            "https://index.docker.io/v1/": {"auth": base64.b64encode(b"u:p").decode()},
            "r.example/team": {"username": "team", "password": "x"},
            "r.example": {"username": "all", "password": "x"},
        }
    }
    secret = {"data": {".dockerconfigjson": base64.b64encode(json.dumps(config).encode()).decode()}}
    parsed = [parse_docker_config(secret)]
    assert [auth.username for auth in matching_auths("busybox", parsed)] == ["u"]
    assert [auth.username for auth in matching_auths("r.example/team/app:1", parsed)] == ["team", "all"]
    assert matching_auths("other.example/app", parsed) == []


def test_collection_takes_the_longest_unused_first_and_never_what_is_used() -> None:
    def image(name: str, tags: tuple[str, ...] = (), pinned: bool = False) -> runtime.Image:
        return runtime.Image(name, tags, (), 100, pinned=pinned)

    images = [image("a"), image("b"), image("used"), image("p", pinned=True), image("q", ("x/pause:1",))]
    used = {"a": 2.0, "b": 1.0, "used": 0.0}
    assert [item.id for item in plan_collection(images, frozenset({"used"}), used, 50)] == ["b"]
    assert [item.id for item in plan_collection(images, frozenset({"used"}), used, 500)] == ["b", "a"]
    assert plan_collection(images, frozenset(), used, 0) == []


class Events(list[str]):
    def __call__(self, kind: str, reason: str, message: str) -> None:
        self.append(f"{kind} {reason} {message}")


@pytest.fixture
def simulated() -> SimulatedRuntime:
    return SimulatedRuntime(FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))


async def test_an_image_that_is_present_is_not_pulled(simulated: Any) -> None:
    simulated.add_image("docker.io/library/a:1")
    simulated.failures["pull_image"] = [runtime.RuntimeCallError("must not")]
    events = Events()
    await ImageManager(simulated).ensure({"name": "c", "image": "a:1"}, events)
    assert events == ['Normal Pulled Container image "a:1" already present on machine']


async def test_never_means_never(simulated: Any) -> None:
    with pytest.raises(ImageError) as caught:
        await ImageManager(simulated).ensure({"name": "c", "image": "a:1", "imagePullPolicy": "Never"}, Events())
    assert caught.value.reason == "ErrImageNeverPull"
    assert caught.value.message == 'Container image "a:1" is not present with pull policy of Never'


async def test_a_failed_pull_backs_off(simulated: Any) -> None:
    simulated.registry = set()
    manager, events = ImageManager(simulated), Events()
    container = {"name": "c", "image": "a:1"}
    reasons = []
    for _ in range(2):
        with pytest.raises(ImageError) as caught:
            await manager.ensure(container, events)
        reasons.append(caught.value.reason)
    assert reasons == ["ErrImagePull", "ImagePullBackOff"]
    assert events[-1] == 'Normal BackOff Back-off pulling image "a:1"'


async def test_a_bad_name_is_refused(simulated: Any) -> None:
    with pytest.raises(ImageError) as caught:
        await ImageManager(simulated).ensure({"name": "c", "image": "UPPER"}, Events())
    assert caught.value.reason == "InvalidImageName"
