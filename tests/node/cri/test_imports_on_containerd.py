"""Archives that are given to a real containerd, in each form, and what ``sampan image`` does with its images."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sampan.cluster import images
from sampan.cluster.errors import ClusterError
from sampan.node.images import archives, local
from sampan.node.images.build import File, ImageConfig, build_image
from sampan.node.images.credentials import NO_SECRETS
from sampan.node.images.manager import ImageManager

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("bench", ["containerd"], indirect=True),
]


@dataclass
class Node:
    """The part of an instance that images are about."""

    containerd_socket: Path
    name: str = "default"
    logs: Path = Path("/nowhere")

    def command(self, words: str) -> str:
        return f"sampan {words}"


@pytest.fixture
def node(bench: Any) -> Any:
    return Node(bench.process.config.socket)


def archive(content: bytes, name: str = "r.example/app:1") -> bytes:
    return build_image(name, [{"said": File(content)}], ImageConfig(cmd=["/said"]))


def gzipped(folder: Path) -> Any:
    (folder / "app.tar.gz").write_bytes(gzip.compress(archive(b"a")))
    return archives.read_file(folder / "app.tar.gz")


def streamed(folder: Path) -> Any:
    return archives.read_stream(io.BytesIO(archive(b"a")), "standard input")


def layout(folder: Path) -> Any:
    with tarfile.open(fileobj=io.BytesIO(archive(b"a"))) as tar:
        tar.extractall(folder / "layout", filter="data")
    return archives.read_file(folder / "layout")


@pytest.mark.parametrize("form", [gzipped, streamed, layout])
async def test_an_image_is_there_when_its_import_is_done(bench: Any, node: Any, form: Any) -> None:
    assert await images.import_archive(node, form(bench.base), "it") == ["r.example/app:1"]
    assert "r.example/app:1" in (await bench.runtime.image_status("r.example/app:1")).tags


async def test_the_next_pod_gets_the_image_that_was_built_anew(bench: Any, node: Any) -> None:
    manager = ImageManager(bench.runtime)
    pod = {"metadata": {"uid": "u", "namespace": "default", "name": "p"}, "spec": {}}
    container = {"name": "c", "image": "r.example/app:1"}

    async def id_of_next() -> str:
        found = await manager.ensure(pod, container, lambda *words: None, NO_SECRETS)
        return str(found.id)

    await images.import_archive(node, [archive(b"a")], "it")
    first = await id_of_next()
    await images.import_archive(node, [archive(b"b")], "it")
    second = await id_of_next()
    assert first != second
    await images.remove(node, "r.example/app:1")
    assert await bench.runtime.image_status("r.example/app:1") is None


async def test_the_pause_image_stays(node: Any) -> None:
    with pytest.raises(ClusterError, match="what every pod stands on"):
        await images.remove(node, local.PAUSE_IMAGE)
    assert local.PAUSE_IMAGE in {each.name for each in await images.list_images(node)}


async def test_what_is_no_image_is_told_in_words(node: Any) -> None:
    with pytest.raises(ClusterError, match="it cannot be imported: ") as caught:
        await images.import_archive(node, [b"this is no archive" * 100], "it")
    assert "docker save" in caught.value.fix


async def test_a_pull_that_fails_says_why_and_what_to_do(node: Any) -> None:
    with pytest.raises(ClusterError, match="connection refused") as caught:
        await images.pull(node, "127.0.0.1:1/app:1")
    assert "registry can be reached" in caught.value.fix
