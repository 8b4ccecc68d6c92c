"""Manifests are as whoever made the image wrote them: what they hold is told of, and followed nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from sampan.node.images.ctr import Listed
from sampan.node.images.inspecting import inspect
from sampan.node.images.pushing import PushError, push

DIGEST = "sha256:aa"
CONFIG = {"digest": DIGEST, "size": 1}
DAMAGED = [
    {"manifests": [1]},
    {"manifests": [{"digest": DIGEST, "size": 1, "platform": 5}]},
    {"config": 5, "layers": []},
    {"config": CONFIG, "layers": [{}]},
]
ELSEWHERE = [
    {"config": CONFIG, "layers": [{"digest": "../../victim/manifests/1", "size": 1}]},
    {"config": {"digest": "--help", "size": 1}},
]


class Contents(dict[str, Any]):
    async def read(self, digest: str) -> bytes | None:
        return orjson.dumps(self[digest]) if digest in self else None

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        yield b""


class Taking:
    """A registry that has no blob and takes all."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def has_blob(self, repository: str, digest: str) -> bool:
        self.asked.append(digest)
        return False

    async def put_blob(self, repository: str, digest: str, *rest: Any) -> None:
        self.asked.append(digest)

    async def put_manifest(self, repository: str, reference: str, *rest: Any) -> None:
        self.asked.append(reference)


@pytest.mark.parametrize("manifest", [{"manifests": []}, *DAMAGED])
async def test_a_damaged_manifest_is_shown_as_one(manifest: Any) -> None:
    with pytest.raises(PushError):
        await inspect(Listed("app:1", DIGEST), Contents({DIGEST: manifest}))


@pytest.mark.parametrize("manifest", [*DAMAGED, *ELSEWHERE])
async def test_a_damaged_manifest_is_not_pushed_and_no_path_of_its_own_is_asked(manifest: Any) -> None:
    registry = Taking()
    with pytest.raises(PushError):
        await push(registry, "team/app", "1", DIGEST, Contents({DIGEST: manifest}), lambda text: None)  # type: ignore[arg-type]
    assert registry.asked == []
