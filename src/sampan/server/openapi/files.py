"""Serves the documents from the files that ``build`` wrote, and starts it when they are not there.

Composed by ``app``; asked by ``discovery.openapi``. Nothing but the index stays in memory: a document is read when
asked for. Only the task of ``run`` starts a build, one at a time; requests wait for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import orjson

import sampan
from sampan.api.errors import NotAcceptable, ServiceUnavailable
from sampan.server.discovery.openapi import PROTOBUF_V2, PROTOBUF_V2_SENT
from sampan.server.negotiation import parse_accept
from sampan.server.openapi.descriptions import models_folder

log = logging.getLogger(__name__)

INDEX, V2_JSON, V2_PROTOBUF = "index.json", "v2.json", "v2.pb"
_JSON_RANGES = frozenset({"application/json", "application/*", "*/*"})
_PROTOBUFS = frozenset({PROTOBUF_V2, PROTOBUF_V2_SENT})
#: what the documents are made from, below the package
_SOURCES = (
    "api/kind.py",
    "api/registry.py",
    "api/enablement.py",
    "api/features.py",
    "api/groups/**/*.py",
    "api/schema/data/*.json",
    "server/openapi/*.py",
)


async def build_apart(folder: Path, *options: str) -> None:
    """Runs ``build`` in a process of its own; what it did shows in the folder. Raises OSError: no process started."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sampan.server.openapi.build",
        str(folder),
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        log.error("building the OpenAPI documents failed: %s", errors.decode(errors="replace")[-2000:])


class OpenApiFiles:
    """``discovery.openapi.OpenApi`` over files.

    ``root`` is the folder of the cache; a build begins with ``run``. Without one the documents live in a temporary
    folder, which is made only when somebody asks.

    Invariant: ``_index`` is None until its documents are complete on disk.
    """

    def __init__(
        self,
        root: Path | None,
        build: Callable[..., Awaitable[None]] = build_apart,
        options: tuple[str, ...] = (),
    ) -> None:
        """``options``: of ``build``, those that say what is served."""
        self._root, self._build, self._options = root, build, options if any(options) else ()
        self._index: Mapping[str, str] | None = None
        self._folder = Path()
        self._wanted = asyncio.Event()
        self._waiting: asyncio.Future[None] | None = None
        self._closed = False

    async def run(self) -> None:
        """Builds when wanted, until cancelled."""
        temporary = self._root is None
        try:
            if not temporary:
                self._wanted.set()
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                if self._root is None:
                    self._root = Path(tempfile.mkdtemp(prefix="sampan-openapi-"))
                await self._load_or_build(self._root)
        finally:
            self._closed = True
            self._answer(ServiceUnavailable("the server is shutting down"))
            if temporary and self._root is not None:
                shutil.rmtree(self._root, ignore_errors=True)

    # -- discovery.openapi.OpenApi -------------------------------------------------------------------------------

    async def v2(self, accept: str) -> tuple[bytes, str, str]:
        """Raises NotAcceptable, ServiceUnavailable."""
        name, content_type = choose_v2(accept)
        body, hash_ = await self._read(name) or (b"", "")
        return body, content_type, f'"{hash_}"'

    async def v3_index(self) -> Mapping[str, str]:
        """Raises ServiceUnavailable."""
        index = await self._ready()
        return {name: hash_ for name, hash_ in sorted(index.items()) if name not in (V2_JSON, V2_PROTOBUF)}

    async def v3(self, group_version: str) -> tuple[bytes, str, str] | None:
        """Raises ServiceUnavailable."""
        if group_version in (V2_JSON, V2_PROTOBUF):
            return None
        found = await self._read(group_version)
        return (found[0], "application/json", found[1]) if found is not None else None

    # -- files ---------------------------------------------------------------------------------------------------

    async def _read(self, name: str) -> tuple[bytes, str] | None:
        """(content, hash); None: no such document."""
        for _ in range(2):
            index = await self._ready()
            if name not in index:
                return None
            try:
                return (self._folder / file_name(name)).read_bytes(), index[name]
            except OSError as error:
                log.warning("an OpenAPI document is lost, all are made anew: %s", error)
                self._index = None
        raise ServiceUnavailable("the OpenAPI documents cannot be read")

    async def _ready(self) -> Mapping[str, str]:
        """The index, once there is one. Raises ServiceUnavailable: the build failed; the next request tries again."""
        while self._index is None:
            if self._closed:
                raise ServiceUnavailable("the server is shutting down")
            if self._waiting is None:
                self._waiting = asyncio.get_running_loop().create_future()
                self._wanted.set()
            await asyncio.shield(self._waiting)  # many may wait; one that gives up does not end it for all
        return self._index

    async def _load_or_build(self, root: Path) -> None:
        failure: ServiceUnavailable | None = None
        try:
            self._folder = root / fingerprint(*self._options)
            self._index = load_index(self._folder)
            if self._index is None:
                await self._build(self._folder, *self._options)
                self._index = load_index(self._folder)
                _remove_others(root, self._folder)
            if self._index is None:
                failure = ServiceUnavailable("the OpenAPI documents could not be made")
        except OSError as error:
            log.error("no OpenAPI documents: %s", error)
            failure = ServiceUnavailable(f"the OpenAPI documents could not be made: {error}")
        self._answer(failure)

    def _answer(self, failure: ServiceUnavailable | None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.done():
            return
        if failure is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(failure)
            waiting.exception()  # whoever waited may be gone


def choose_v2(accept: str) -> tuple[str, str]:
    """(document, content type) for an Accept header. Raises NotAcceptable."""
    for clause in parse_accept(accept) or parse_accept("*/*"):
        if clause.media_type in _PROTOBUFS:
            return V2_PROTOBUF, PROTOBUF_V2_SENT
        if clause.media_type in _JSON_RANGES:
            return V2_JSON, "application/json"
    raise NotAcceptable(f"only the following media types are accepted: application/json, {PROTOBUF_V2}")


def file_name(document: str) -> str:
    """Where a document is, in the folder of its build."""
    return document.replace("/", "__")


def fingerprint(*options: str) -> str:
    """Changes with whatever the documents are made from; costs one stat a file."""
    package = Path(sampan.__file__).parent
    sources = [path for pattern in _SOURCES for path in package.glob(pattern)]
    models = models_folder()
    sources += models.glob("*.py") if models is not None else ()
    digest = hashlib.sha256()
    for path in sorted(sources):
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    digest.update("\0".join(options).encode())
    return digest.hexdigest()[:16]


def load_index(folder: Path) -> Mapping[str, str] | None:
    """Document to hash; None unless all documents are there in full (a power failure leaves empty files)."""
    try:
        index = orjson.loads((folder / INDEX).read_bytes())
        if all((folder / file_name(name)).stat().st_size == entry["size"] for name, entry in index.items()):
            return {name: entry["hash"] for name, entry in index.items()}
    except (OSError, ValueError):
        pass  # not built yet, or torn: either way it is built again
    return None


def _remove_others(root: Path, kept: Path) -> None:
    """Builds of other versions, and what killed builds left. Only folders that are ours by their content or name."""
    for folder in root.iterdir():
        if folder != kept and folder.is_dir() and ((folder / INDEX).exists() or folder.suffix == ".tmp"):
            shutil.rmtree(folder, ignore_errors=True)
