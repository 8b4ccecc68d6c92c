"""Archives that are given to a real containerd, in each form, and what ``sampan image`` does with its images."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
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
    kubelet_root: Path
    name: str = "default"
    logs: Path = Path("/nowhere")

    def command(self, words: str) -> str:
        return f"sampan {words}"


@pytest.fixture
def node(bench: Any, tmp_path: Path) -> Any:
    return Node(bench.process.config.socket, tmp_path / "kubelet")


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


def docker_archive(*tags: str) -> bytes:
    """As `docker save` wrote it before it wrote OCI layouts."""
    with tarfile.open(fileobj=io.BytesIO(archive(b"a"))) as tar:
        blobs = {
            f"sha256:{member.name.rpartition('/')[2]}": tar.extractfile(member) for member in tar if member.isfile()
        }
        found = {digest: file.read() for digest, file in blobs.items() if file is not None}
    manifest = orjson.loads(found[orjson.loads(found["sha256:index.json"])["manifests"][0]["digest"]])
    files = {"config.json": found[manifest["config"]["digest"]]}
    files |= {f"{number}/layer.tar": found[each["digest"]] for number, each in enumerate(manifest["layers"])}
    entry = {"Config": "config.json", "RepoTags": tags, "Layers": [name for name in files if name.endswith(".tar")]}
    files["manifest.json"] = orjson.dumps([entry])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


async def test_an_archive_of_docker_has_all_its_tags(bench: Any, node: Any) -> None:
    tags = ("r.example/app:1", "r.example/app:latest", "other.example/app:1")
    assert sorted(await images.import_archive(node, [docker_archive(*tags)], "it")) == sorted(tags)
    again = await images.tag(node, "r.example/app:1", "r.example/renamed")
    ids = {(await bench.runtime.image_status(name)).id for name in (*tags, again)}
    assert len(ids) == 1
    assert (await images.inspect(node, "r.example/renamed"))["id"] in ids


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
    before = {each.name: each.digest for each in await images.list_images(node)}
    with pytest.raises(ClusterError, match="what every pod stands on"):
        await images.import_archive(node, [archive(b"not this one", local.PAUSE_IMAGE)], "archive")
    after = {each.name: each.digest for each in await images.list_images(node)}
    assert after[local.PAUSE_IMAGE] == before[local.PAUSE_IMAGE]


async def test_what_is_no_image_is_told_in_words(node: Any) -> None:
    with pytest.raises(ClusterError, match="it cannot be imported: ") as caught:
        await images.import_archive(node, [b"this is no archive" * 100], "it")
    assert "docker save" in caught.value.fix


async def test_a_pull_that_fails_says_why_and_what_to_do(node: Any) -> None:
    with pytest.raises(ClusterError, match="connection refused") as caught:
        await images.pull(node, "127.0.0.1:1/app:1")
    assert "registry can be reached" in caught.value.fix
