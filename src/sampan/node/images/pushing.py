"""An image to a registry, as a push goes: layers and configurations first, then the manifests that name them.

What the registry has is not sent again. Used by ``sampan image push`` and tests, with whatever holds the content.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from sampan.api.types import Obj
from sampan.node.images.build import go_architecture
from sampan.records import dataclass

if TYPE_CHECKING:
    from sampan.node.images.distribution import Registry

#: how deep indexes may lie in indexes, and how many images may be in one
_DEPTH = 3
_MANIFESTS = 1000
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-zA-Z=_-]+")
_OCI = "application/vnd.oci.image."


class PushError(Exception):
    """The image cannot be sent as it lies here; the message says why."""


class Content(Protocol):
    """The parts of images, by digest."""

    async def read(self, digest: str) -> bytes | None:
        """A manifest, an index or a configuration. None: it is not here."""
        ...

    def stream(self, digest: str) -> AsyncIterator[bytes]:
        """Raises PushError."""
        ...


@dataclass(frozen=True, slots=True)
class Pushed:
    """``platform_only``: the others of an index are not on this machine, so the tag is of this one alone."""

    digest: str
    platform_only: str = ""


async def push(
    registry: Registry, repository: str, tag: str, digest: str, content: Content, tell: Callable[[str], None]
) -> Pushed:
    """``repository`` without its host. ``tell``: what is being sent. Raises PushError, RegistryError."""
    sending = _Sending(registry, repository, content, tell)
    whole = await sending.document(digest)
    platform = ""
    if "manifests" in whole:
        listed = await sending.present(whole)
        if len(listed) < len(whole["manifests"]):
            digest, platform = _of_this_machine(listed)
    await sending.manifest(digest, tag, 0)
    return Pushed(digest, platform)


class _Sending:
    def __init__(self, registry: Registry, repository: str, content: Content, tell: Callable[[str], None]) -> None:
        self._registry, self._repository, self._content, self._tell = registry, repository, content, tell
        self._sent: set[str] = set()

    async def document(self, digest: str) -> Obj:
        return _parse(digest, await self._read(digest))

    async def present(self, index: Obj) -> list[Obj]:
        """The images of an index that are on this machine."""
        return [
            each for each in _descriptors(index, "manifests") if await self._content.read(each["digest"]) is not None
        ]

    async def manifest(self, digest: str, reference: str, depth: int) -> None:
        content = await self._read(digest)
        document = _parse(digest, content)
        if "manifests" in document:
            if depth >= _DEPTH:
                raise PushError(f"{digest} lies deeper in indexes than {_DEPTH}")
            for each in _descriptors(document, "manifests"):
                await self.manifest(each["digest"], each["digest"], depth + 1)
            kind = document.get("mediaType") or f"{_OCI}index.v1+json"
        elif "config" in document:
            for each in _descriptors({"all": [document["config"], *(document.get("layers") or ())]}, "all"):
                await self._blob(each)
            kind = document.get("mediaType") or f"{_OCI}manifest.v1+json"
        else:
            raise PushError(f"{digest} is an image of a form that registries no longer take")
        await self._registry.put_manifest(self._repository, reference, content, str(kind))

    async def _blob(self, descriptor: Obj) -> None:
        digest, size = descriptor["digest"], descriptor["size"]
        if digest in self._sent or await self._registry.has_blob(self._repository, digest):
            return
        self._tell(f"Sending {digest.partition(':')[2][:12]} ({size / 2**20:.1f} MiB)")
        await self._registry.put_blob(self._repository, digest, size, lambda: self._content.stream(digest))
        self._sent.add(digest)

    async def _read(self, digest: str) -> bytes:
        content = await self._content.read(digest)
        if content is None:
            raise PushError(f"{digest} is not on this machine: pull or import the image anew")
        return content


def _parse(digest: str, content: bytes) -> Obj:
    try:
        document = orjson.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise PushError(f"{digest} is no manifest")
    return document


def _descriptors(document: Obj, name: str) -> list[Obj]:
    listed: Any = document.get(name)
    if not isinstance(listed, list) or len(listed) > _MANIFESTS or not all(_is_descriptor(each) for each in listed):
        raise PushError("the image's manifest is damaged")
    return listed


def _is_descriptor(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("platform"), dict | None):
        return False
    digest = value.get("digest")  # a part of paths at the registry
    return isinstance(digest, str) and bool(_DIGEST.fullmatch(digest)) and isinstance(value.get("size"), int)


def _of_this_machine(listed: list[Obj]) -> tuple[str, str]:
    """Digest and platform (linux/amd64). Raises PushError."""
    mine = go_architecture()
    for each in listed:
        platform = each.get("platform") or {}
        if platform.get("os") == "linux" and platform.get("architecture") == mine:
            return each["digest"], f"linux/{mine}"
    raise PushError(f"the image for linux/{mine} is not on this machine: pull or import it anew")
