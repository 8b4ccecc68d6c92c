"""Documents are built once, served from disk, and built again when they are gone."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from sampan.api.errors import NotAcceptable, ServiceUnavailable
from sampan.server.discovery.openapi import PROTOBUF_V2, PROTOBUF_V2_SENT
from sampan.server.openapi import files
from sampan.server.openapi.files import OpenApiFiles

CONTENT = {"v2.json": b"{}", "v2.pb": b"\x0a", "api/v1": b'{"openapi":"3.0.0"}'}


class Builder:
    """Writes three small documents, when ``gate`` is open."""

    def __init__(self, *, fails: int = 0) -> None:
        self.builds, self.fails = 0, fails
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, folder: Path) -> None:
        self.builds += 1
        await self.gate.wait()
        if self.builds <= self.fails:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in CONTENT.items():
            (folder / files.file_name(name)).write_bytes(content)
        index = {n: {"hash": hashlib.sha256(c).hexdigest().upper(), "size": len(c)} for n, c in CONTENT.items()}
        (folder / files.INDEX).write_bytes(orjson.dumps(index))


@asynccontextmanager
async def running(root: Path | None, build: Callable[[Path], Awaitable[None]]) -> AsyncIterator[OpenApiFiles]:
    documents = OpenApiFiles(root, build)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(documents.run())
        await asyncio.sleep(0)
        yield documents
        task.cancel()


async def test_with_a_folder_the_build_begins_at_once(tmp_path: Path) -> None:
    build = Builder()
    async with running(tmp_path / "openapi", build):
        assert build.builds == 1


async def test_without_a_folder_the_build_begins_when_somebody_asks() -> None:
    build = Builder()
    async with running(None, build) as documents:
        assert build.builds == 0
        assert list(await documents.v3_index()) == ["api/v1"]
        assert build.builds == 1
        folder = documents._folder
    assert not folder.parent.exists()


async def test_the_next_server_builds_nothing(tmp_path: Path) -> None:
    build = Builder()
    for _ in range(2):
        async with running(tmp_path, build) as documents:
            await documents.v3_index()
    assert build.builds == 1


async def test_all_requests_wait_for_one_build(tmp_path: Path) -> None:
    build = Builder()
    build.gate.clear()
    async with running(tmp_path, build) as documents, asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(documents.v3("api/v1")) for _ in range(3)]
        await asyncio.sleep(0)
        asked[0].cancel()  # one client that leaves does not end it for the others
        build.gate.set()
        assert await asked[1] == await asked[2]
    assert build.builds == 1


async def test_a_document_comes_with_its_hash(tmp_path: Path) -> None:
    async with running(tmp_path, Builder()) as documents:
        found = await documents.v3("api/v1")
        hash_ = (await documents.v3_index())["api/v1"]
    assert found == (CONTENT["api/v1"], "application/json", hash_)


@pytest.mark.parametrize("name", ["api/v9", "v2.json", "index.json", "../secret", "api__v1", ""])
async def test_only_documents_of_the_index_are_found(tmp_path: Path, name: str) -> None:
    async with running(tmp_path, Builder()) as documents:
        assert await documents.v3(name) is None


async def test_a_lost_document_is_made_again(tmp_path: Path) -> None:
    build = Builder()
    async with running(tmp_path, build) as documents:
        await documents.v3_index()
        (documents._folder / "v2.json").unlink()
        body, _, _ = await documents.v2("application/json")
    assert (body, build.builds) == (CONTENT["v2.json"], 2)


async def test_a_torn_document_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / files.fingerprint()
    build = Builder()
    await build(folder)
    (folder / "v2.json").write_bytes(b"")
    async with running(tmp_path, build) as documents:
        await documents.v3_index()
    assert build.builds == 2


async def test_a_failed_build_is_told_and_tried_again(tmp_path: Path) -> None:
    build = Builder(fails=1)
    build.gate.clear()
    async with running(tmp_path, build) as documents:
        asyncio.get_running_loop().call_soon(build.gate.set)
        with pytest.raises(ServiceUnavailable):
            await documents.v3_index()
        assert list(await documents.v3_index()) == ["api/v1"]


@pytest.mark.logs_errors("no OpenAPI documents: no more processes")
async def test_a_builder_that_cannot_start_is_told(tmp_path: Path) -> None:
    async def build(folder: Path) -> None:
        raise OSError("no more processes")

    async with running(None, build) as documents:
        with pytest.raises(ServiceUnavailable, match="no more processes"):
            await documents.v2("")


async def test_at_shutdown_nobody_waits_on(tmp_path: Path) -> None:
    build = Builder()
    build.gate.clear()
    async with running(tmp_path, build) as documents:
        waiting = asyncio.create_task(documents.v2(""))
        await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailable):
        await waiting
    with pytest.raises(ServiceUnavailable):
        await documents.v2("")


async def test_documents_of_other_versions_are_removed_and_strangers_stay(tmp_path: Path) -> None:
    build = Builder()
    await build(tmp_path / "old")
    (tmp_path / "new.abc.tmp").mkdir()
    (tmp_path / "stranger").mkdir()
    async with running(tmp_path, build) as documents:
        await documents.v3_index()
    assert {path.name for path in tmp_path.iterdir()} == {"stranger", files.fingerprint()}


@pytest.mark.parametrize(
    ("accept", "name", "content_type"),
    [
        ("", "v2.json", "application/json"),
        ("*/*", "v2.json", "application/json"),
        ("application/json", "v2.json", "application/json"),
        (PROTOBUF_V2, "v2.pb", PROTOBUF_V2_SENT),
        (PROTOBUF_V2_SENT, "v2.pb", PROTOBUF_V2_SENT),
        (f"application/json;q=0.5,{PROTOBUF_V2}", "v2.pb", PROTOBUF_V2_SENT),
    ],
)
def test_v2_is_sent_in_the_form_wanted_most(accept: str, name: str, content_type: str) -> None:
    assert files.choose_v2(accept) == (name, content_type)


def test_v2_in_no_other_form() -> None:
    with pytest.raises(NotAcceptable):
        files.choose_v2("text/html")


def test_the_fingerprint_is_stable() -> None:
    assert files.fingerprint() == files.fingerprint()
    assert files.fingerprint("batch/v1=false", "") not in (files.fingerprint(), files.fingerprint("", "batch/v1=false"))
