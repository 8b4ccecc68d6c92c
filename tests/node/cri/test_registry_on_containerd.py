"""Pulls by a real containerd from a real registry on this machine: who is asked for what, with which credentials."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web

from sampan.node.images.build import File, ImageConfig, build_image
from sampan.node.images.credentials import PullSecrets
from sampan.node.images.manager import ImageError, ImageManager

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("bench", ["containerd"], indirect=True),
]


class Registry:
    """One image under every name, for whoever knows the password; it tells who asked, and can be slow."""

    def __init__(self) -> None:
        self.password: str | None = "s3:cret"
        self.seen: list[str] = []
        #: while this is clear, blobs do not come
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.waiting = asyncio.Event()
        self.gone = asyncio.Event()
        archive = build_image("x/y:1", [{"greeting": File(b"hello")}], ImageConfig(cmd=["/greeting"]))
        self._blobs: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                if file is not None:
                    self._blobs["sha256:" + member.name.rpartition("/")[2]] = file.read()
        index = orjson.loads(self._blobs["sha256:index.json"])
        self._manifest = index["manifests"][0]["digest"]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        user = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")[0] if given else ""
        self.seen.append(user)
        if self.password is not None:
            wanted = "Basic " + base64.b64encode(f"user:{self.password}".encode()).decode()
            if given != wanted:
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="test"'})
        wanted_digest = request.path.rpartition("/")[2]
        if "/manifests/" in request.path and not wanted_digest.startswith("sha256:"):
            wanted_digest = self._manifest
        blob = self._blobs.get(wanted_digest)
        if blob is None:
            return web.Response(status=404)
        if "/blobs/" in request.path:
            self.waiting.set()
            try:
                await self.flowing.wait()
            except asyncio.CancelledError:
                self.gone.set()
                raise
        is_manifest = "/manifests/" in request.path
        kind = "application/vnd.oci.image.manifest.v1+json" if is_manifest else "application/octet-stream"
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        return web.Response(body=blob, headers={"Docker-Content-Digest": digest, "Content-Type": kind})


@pytest.fixture
async def registry() -> AsyncIterator[tuple[Registry, str]]:
    made = Registry()
    runner = web.ServerRunner(web.Server(made.answer, handler_cancellation=True))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield made, f"localhost:{runner.addresses[0][1]}"
    finally:
        made.flowing.set()
        await runner.cleanup()


def pod(uid: str) -> Any:
    return {"metadata": {"uid": uid, "namespace": "default", "name": uid}, "spec": {}}


def secrets(server: str, user: str = "user", password: str = "s3:cret") -> PullSecrets:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    data = base64.b64encode(orjson.dumps({"auths": {server: {"auth": auth}}})).decode()
    kind = "kubernetes.io/dockerconfigjson"
    meta = {"name": "regcred", "namespace": "default", "uid": "u"}
    return PullSecrets(({"metadata": meta, "type": kind, "data": {".dockerconfigjson": data}},))


def ignore(kind: str, reason: str, message: str) -> None:
    """Events are the manager's own tests' matter."""


@pytest.mark.parametrize("spelling", ["{}", "http://{}", "https://{}/v2/", "{}/team"])
async def test_a_pull_secret_opens_a_registry_however_it_is_spelled(bench: Any, registry: Any, spelling: str) -> None:
    made, address = registry
    container = {"name": "c", "image": f"{address}/team/app:1"}
    manager = ImageManager(bench.runtime)
    with pytest.raises(ImageError, match="401 Unauthorized"):
        await manager.ensure(pod("stranger"), container, ignore)
    assert set(made.seen) == {""}
    found = await manager.ensure(pod("tenant"), container, ignore, secrets(spelling.format(address)))
    assert f"{address}/team/app:1" in found.tags
    assert made.seen[-1] == "user"
    never = {**container, "imagePullPolicy": "Never"}
    with pytest.raises(ImageError, match="does not have the proper credentials"):
        await manager.ensure(pod("other"), never, ignore)


async def test_a_wrong_password_is_told(bench: Any, registry: Any) -> None:
    _, address = registry
    container = {"name": "c", "image": f"{address}/app:1"}
    with pytest.raises(ImageError, match="401 Unauthorized") as caught:
        await ImageManager(bench.runtime).ensure(pod("u"), container, ignore, secrets(address, password="wrong"))
    assert caught.value.reason == "ErrImagePull"


async def test_a_pull_nobody_waits_for_any_more_ends_at_the_registry_too(bench: Any, registry: Any) -> None:
    made, address = registry
    made.password = None
    made.flowing.clear()
    container = {"name": "c", "image": f"{address}/app:1"}
    asker = asyncio.create_task(ImageManager(bench.runtime).ensure(pod("u"), container, ignore))
    async with asyncio.timeout(60):
        await made.waiting.wait()
        asker.cancel()
        await made.gone.wait()
    await asyncio.gather(asker, return_exceptions=True)
    assert await bench.runtime.image_status(f"{address}/app:1") is None
