"""What an image is made of and how it runs, for ``sampan image inspect``: read from its manifest and configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from sampan.api.types import Obj
from sampan.node.images.build import go_architecture
from sampan.node.images.pushing import Content, PushError

if TYPE_CHECKING:
    from sampan.node.images.ctr import Listed


async def inspect(found: Listed, content: Content) -> Obj:
    """Of an index the image for this machine, with the platforms that there are. Raises PushError."""
    try:
        return await _inspected(found, content)
    except (LookupError, TypeError, AttributeError, ValueError):  # it is as whoever made it wrote it
        raise PushError(f"{found.digest} is no image: its manifest is damaged") from None


async def _inspected(found: Listed, content: Content) -> Obj:
    document = await _document(content, found.digest)
    digest, platforms = found.digest, []
    listed = document.get("manifests")
    if listed is not None:
        platforms = [_platform(each.get("platform") or {}) for each in listed]
        mine = [each for each, platform in zip(listed, platforms, strict=True) if platform.startswith(_MINE)]
        digest = (mine or listed)[0]["digest"]
        document = await _document(content, digest)
    if "config" not in document:
        raise PushError(f"{digest} is an image of a form that cannot be shown")
    config = await _document(content, document["config"]["digest"])
    return {
        "name": found.name,
        "digest": found.digest,
        "id": document["config"]["digest"],
        "platforms": platforms or [_platform(config)],
        "created": config.get("created", ""),
        "config": config.get("config") or {},
        "layers": [{"digest": each["digest"], "size": each["size"]} for each in document.get("layers") or ()],
        "size": found.size_bytes,
    }


_MINE = f"linux/{go_architecture()}"


def _platform(of: Obj) -> str:
    return "/".join(filter(None, (of.get("os"), of.get("architecture"), of.get("variant"))))


async def _document(content: Content, digest: str) -> Obj:
    raw = await content.read(digest)
    if raw is None:
        raise PushError(f"{digest} is not on this machine")
    try:
        document = orjson.loads(raw)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise PushError(f"{digest} is no manifest")
    return document
