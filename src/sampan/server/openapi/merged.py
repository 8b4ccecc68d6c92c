"""The OpenAPI documents of everything that is served: the built-in ones from their files, with custom resources merged.

Documents of custom resources are made in a thread when somebody asks, and the parts of v2's one document are kept on
disk by what they were made from, so that one definition more costs the work for one. Memory holds the newest v3
documents up to a limit. Which documents there are, and their hashes, is known without making any.

Composed by ``app``; ``custom`` makes the documents. Concurrency: the event loop's, but for what ``aside`` runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import orjson

from sampan.api.kind import Kind
from sampan.records import dataclass
from sampan.server.discovery.openapi import OpenApi, document_of
from sampan.server.openapi.files import V2_JSON, choose_v2
from sampan.server.openapi.splicing import merge_json_v2
from sampan.server.threads import aside

if TYPE_CHECKING:
    from sampan.server.openapi.definitions import Raw

log = logging.getLogger(__name__)

#: of v3 documents that are kept in memory
_KEPT_BYTES: Final = 4 * 1024 * 1024
#: the built-in documents that have all that custom ones share: a short one, and one that nobody can turn off
_SHARED_FROM: Final = ("apis/apps/v1", "api/v1")
#: definitions that are worked on in one turn of a thread
_PORTION: Final = 8
_SUFFIXES: Final = (".paths", ".definitions", ".pb")


def shared_from(index: Mapping[str, str]) -> str:
    """The first of those documents that there is: ``--runtime-config`` may have turned the short one off."""
    return next((name for name in _SHARED_FROM if name in index), _SHARED_FROM[0])


@dataclass(frozen=True, slots=True)
class Published:
    """A served version of a custom resource. ``source``: the stored definition; None: it is gone."""

    kind: Kind
    digest: bytes
    source: Callable[[], bytes | None]


class Custom(Protocol):
    def published(self) -> Sequence[Published]:
        """In order of group, version and resource; the same object until something of it changes."""
        ...


def schema_of(source: bytes, version: str) -> Raw:
    """Of a version of a stored definition. KeyError, ValueError: it has none."""
    declared = {one["name"]: one for one in orjson.loads(source)["spec"]["versions"]}
    schema: Raw = declared[version]["schema"]["openAPIV3Schema"]
    return schema


class MergedOpenApi:
    """``discovery.openapi.OpenApi``. ``folder``: where parts are kept; None: a temporary one, made when needed."""

    def __init__(self, builtin: OpenApi, resources: Custom, folder: Path | None) -> None:
        self._builtin, self._custom, self._folder = builtin, resources, folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._grouped: tuple[Sequence[Published], dict[str, list[Published]]] = ((), {})
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._kept_bytes = 0
        self._shared: tuple[str, dict[str, bytes]] = ("", {})
        self._making = asyncio.Lock()

    def close(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    # -- discovery.openapi.OpenApi -------------------------------------------------------------------------------

    async def v3_index(self) -> Mapping[str, str]:
        found = dict(await self._builtin.v3_index())
        base = found.get(shared_from(found), "")
        for name, listed in self._documents().items():
            found.setdefault(name, _hash(base, listed))
        return dict(sorted(found.items()))

    async def v3(self, group_version: str) -> tuple[bytes, str, str] | None:
        found = await self._builtin.v3(group_version)
        if found is not None:
            return found
        listed = self._documents().get(group_version)
        if listed is None:
            return None
        index = await self._builtin.v3_index()
        base = index.get(shared_from(index), "")
        hash_ = _hash(base, listed)
        body = self._kept.get((group_version, hash_))
        if body is None:
            body = await self._make_v3(listed, base)
            self._keep((group_version, hash_), body)
        return body, "application/json", hash_

    async def v2(self, accept: str) -> tuple[bytes, str, str]:
        body, content_type, etag = await self._builtin.v2(accept)
        listed = self._custom.published()
        if not listed:
            return body, content_type, etag
        as_json = choose_v2(accept)[0] == V2_JSON
        etag = f'"{_hash(etag, listed)}"'
        sources = [(one, one.source()) for one in listed]
        async with self._making:
            parts = []
            for at in range(0, len(sources), _PORTION):
                parts += await aside(self._parts, sources[at : at + _PORTION], as_json=as_json)
            await aside(self._forget_others, [one.digest.hex() for one in listed])
        if as_json:
            halves = list(zip(parts[::2], parts[1::2], strict=True))
            return await aside(merge_json_v2, body, halves), content_type, etag
        return b"".join((body, *parts)), content_type, etag

    # -- v3 ------------------------------------------------------------------------------------------------------

    def _documents(self) -> dict[str, list[Published]]:
        """What is published, by document."""
        listed = self._custom.published()
        if self._grouped[0] is not listed:
            grouped: dict[str, list[Published]] = {}
            for one in listed:
                grouped.setdefault(document_of(one.kind.group, one.kind.version), []).append(one)
            self._grouped = listed, grouped
        return self._grouped[1]

    async def _make_v3(self, listed: Sequence[Published], base: str) -> bytes:
        if self._shared[0] != base or not self._shared[1]:
            document = await self._builtin.v3(shared_from(await self._builtin.v3_index()))
            shared = await aside(_shared_definitions, document[0]) if document is not None else {}
            self._shared = base, shared
        sources = [(one, one.source()) for one in listed]
        return await aside(_document, sources, self._shared[1])

    def _keep(self, key: tuple[str, str], body: bytes) -> None:
        if len(body) > _KEPT_BYTES or key in self._kept:
            return
        self._kept[key] = body
        self._kept_bytes += len(body)
        while self._kept_bytes > _KEPT_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._kept_bytes -= len(gone)

    # -- v2, in a thread -----------------------------------------------------------------------------------------

    def _parts(self, sources: Sequence[tuple[Published, bytes | None]], *, as_json: bool) -> list[bytes]:
        """As JSON: members of ``paths`` and of ``definitions`` in turn; else messages to put behind the document's."""
        folder = self._place()
        found: list[bytes] = []
        for one, source in sources:
            names = [folder / f"{one.digest.hex()}{suffix}" for suffix in _SUFFIXES]
            if not all(name.exists() for name in names):
                for name, content in zip(names, _made_v2(one, source), strict=True):
                    _write(name, content)
            found += [name.read_bytes() for name in (names[:2] if as_json else names[2:])]
        return found

    def _place(self) -> Path:
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="sampan-openapi-custom-")
            self._folder = Path(self._temporary.name)
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def _forget_others(self, digests: Iterable[str]) -> None:
        kept = set(digests)
        for path in self._place().iterdir():
            if path.suffix in _SUFFIXES and path.stem not in kept:
                path.unlink(missing_ok=True)


def _hash(base: str, listed: Iterable[Published]) -> str:
    digest = hashlib.sha256(base.encode())
    for one in listed:
        digest.update(one.digest)
    return digest.hexdigest().upper()


# What makes documents is imported late: a server may have no definitions, or nobody who asks for documents.


def _shared_definitions(document: bytes) -> dict[str, bytes]:
    from sampan.server.openapi import custom

    return custom.shared_definitions(document)


def _document(sources: Sequence[tuple[Published, bytes | None]], shared: Mapping[str, bytes]) -> bytes:
    from sampan.server.openapi import custom

    described = [(one.kind, _schema(one, source)) for one, source in sources if source is not None]
    kind = sources[0][0].kind
    return custom.document_v3(kind.group, kind.version, described, shared)


def _schema(one: Published, source: bytes) -> Raw:
    try:
        return schema_of(source, one.kind.version)
    except (LookupError, TypeError, ValueError):
        return {"type": "object"}


def _made_v2(one: Published, source: bytes | None) -> tuple[bytes, bytes, bytes]:
    """Paths and definitions as JSON, and both as a message. What cannot be said is left out."""
    from sampan.server.openapi import custom

    if source is None:
        return b"", b"", b""
    fragment = custom.fragment_v2(one.kind, _schema(one, source))
    try:
        message = custom.protobuf_v2(fragment)
    except (AttributeError, TypeError, ValueError) as error:
        log.warning("%s has no OpenAPI v2 in protobuf: %s", one.kind.schema, error)
        message = b""
    return custom.json_members(fragment["paths"]), custom.json_members(fragment["definitions"]), message


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    scratch = path.with_suffix(path.suffix + ".tmp")
    scratch.write_bytes(content)
    scratch.replace(path)
