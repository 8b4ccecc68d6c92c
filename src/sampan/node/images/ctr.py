"""containerd's own tool, for what CRI has no call for: importing archives, listing, naming and removing images, reading
what they are made of.

All in the namespace that CRI uses. Used by ``sampan image``, ``sampan up`` and tests, whether or not a node agent runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import orjson

from sampan.node.images import helpers
from sampan.node.images.pushing import PushError
from sampan.records import dataclass

_PIECE_BYTES = 1 << 18
_DOCUMENT_BYTES = 8 << 20
#: how deep indexes may lie in indexes, and how many documents of one image are looked at
_DEPTH = 4
_MANIFESTS = 200
_DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]+")
_UNPACKED = re.compile(rf"unpacking (\S+) \(({_DIGEST.pattern})\)")
_LISTED = re.compile(rf"(\S+)\s+\S+\s+({_DIGEST.pattern})\s+(-|[0-9]+(?:\.[0-9]+)?)\s+(\S+)")
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


class CtrError(Exception):
    """What the tool said, in its last line."""


@dataclass(frozen=True, slots=True)
class Listed:
    """``digest`` is the manifest's (or index's), not the id that CRI has."""

    name: str
    digest: str
    size_bytes: int = 0

    @property
    def short_id(self) -> str:
        return self.digest.removeprefix("sha256:")[:12]


async def import_archive(address: str, pieces: Iterable[bytes]) -> list[Listed]:
    """Imports an image archive (tar, docker's or OCI's form) as it comes. Raises CtrError, and what ``pieces`` raises.

    Returns the images in it; none where the archive holds no name.
    """
    said = await _run(address, "images", "import", "--all-platforms", "-", pieces=pieces)
    # unpacking docker.io/library/app:1 (sha256:…)...done
    return [Listed(found[1], found[2]) for line in said.splitlines() if (found := _UNPACKED.match(line))]


async def list_images(address: str) -> list[Listed]:
    """Images by name, sorted; the bare digests that containerd lists besides are left out."""
    said = await _run(address, "images", "list")
    found = (parse_line(line) for line in said.splitlines()[1:])
    return sorted((each for each in found if each is not None), key=lambda each: each.name)


def parse_line(line: str) -> Listed | None:
    """A line of ``ctr images list``. None: not a name that a person gave, or one that no pod could write: an archive
    may hold any text as one. ``-`` for the size: a content is missing."""
    found = _LISTED.match(line)
    if found is None:
        return None
    name, digest, amount, unit = found.groups()
    if "@" in name or name.startswith("sha256:"):
        return None
    return Listed(name, digest, int(float(amount) * _UNITS[unit]) if unit in _UNITS and amount != "-" else 0)


async def remove(address: str, name: str) -> None:
    await _run(address, "images", "remove", "--sync", name)


async def tag(address: str, name: str, other: str) -> None:
    """The image has the other name too; one that had it loses it."""
    await _run(address, "images", "tag", "--force", name, other)


async def image_ids(address: str, digest: str) -> frozenset[str]:
    """The ids by which CRI may know the image of a manifest or index: its configurations' digests, one a platform.

    What does not read as a manifest has none; of what an archive may hold only so much is looked at. Raises CtrError.
    """
    content, found = StoredContent(address), set[str]()
    level, seen = [digest], {digest}
    for _ in range(_DEPTH):
        below: list[str] = []
        for each in level:
            try:
                document = _parsed(await content.read(each))
            except PushError:
                continue  # too large
            found.update(_digests([document.get("config")]))
            below += _digests(document.get("manifests"))
        # What is not here is of a platform that the archive left out.
        level = [each for each in dict.fromkeys(below) if each not in seen][: _MANIFESTS - len(seen)]
        seen.update(level)
    if not found:
        raise CtrError(f"{digest} is no image, or none of its parts is here")
    return frozenset(found)


def _parsed(raw: bytes | None) -> dict[str, Any]:
    try:
        document = orjson.loads(raw or b"")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _digests(descriptors: object) -> list[str]:
    listed = descriptors if isinstance(descriptors, list) else []
    found = [each.get("digest") for each in listed if isinstance(each, dict)]
    return [each for each in found if isinstance(each, str) and _DIGEST.fullmatch(each)]


class StoredContent:
    """Implements ``pushing.Content``: what containerd holds."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def read(self, digest: str) -> bytes | None:
        """Raises PushError for what is no manifest and no configuration: it is too large."""
        content = b""
        try:
            async for piece in self._pieces(digest):
                content += piece
                if len(content) > _DOCUMENT_BYTES:
                    raise PushError(f"{digest} is too large for a manifest")
        except CtrError:
            return None
        return content

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces(digest):
                yield piece
        except CtrError as error:
            raise PushError(f"{digest} is not on this machine: {error}") from error

    async def _pieces(self, digest: str) -> AsyncIterator[bytes]:
        process = await _start(self._address, "content", "get", digest, stdin=asyncio.subprocess.DEVNULL)
        assert process.stdout is not None and process.stderr is not None
        try:
            while piece := await process.stdout.read(_PIECE_BYTES):
                yield piece
            said = await process.stderr.read()
            await process.wait()
            if process.returncode:
                raise CtrError(_last_words(said, process.returncode))
        finally:
            if process.returncode is None:
                process.kill()
                await helpers.gone(process)


async def _start(address: str, *arguments: str, stdin: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "ctr", "--address", address, "--namespace", "k8s.io", *arguments,
        stdin=stdin, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip


def _last_words(said: bytes, code: int) -> str:
    words = said.decode(errors="replace").strip().splitlines()
    return words[-1].removeprefix("ctr: ") if words else f"ctr ended with {code}"


async def _run(address: str, *arguments: str, pieces: Iterable[bytes] = ()) -> str:
    process = await _start(address, *arguments)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    try:
        async with asyncio.TaskGroup() as group:
            out = group.create_task(process.stdout.read())
            err = group.create_task(process.stderr.read())
            await _feed(process.stdin, pieces)
        await process.wait()
    except BaseException as error:
        if process.returncode is None:
            process.kill()
            await helpers.gone(process)
        raise (error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error) from None
    if process.returncode:
        raise CtrError(_last_words(err.result(), process.returncode))
    return out.result().decode(errors="replace")


async def _in_thread(work: Callable[[], bytes | None]) -> bytes | None:
    """In a thread that nobody waits for when this is cancelled: it may read what never comes, and a pool would hold
    the program back at its end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes | None] = loop.create_future()

    def tell(piece: bytes | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(piece)
        else:
            done.set_exception(error)

    def run() -> None:
        found: bytes | None = None
        fault: BaseException | None = None
        try:
            found = work()
        except BaseException as error:
            fault = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, found, fault)

    threading.Thread(target=run, name="archive", daemon=True).start()
    return await done


async def _feed(stdin: asyncio.StreamWriter, pieces: Iterable[bytes]) -> None:
    """Reading and unpacking may take long: a thread's work. Raises what ``pieces`` raises."""
    iterator = iter(pieces)
    try:
        while (piece := await _in_thread(lambda: next(iterator, None))) is not None:
            stdin.write(piece)
            await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has had enough: its own words say why
    finally:
        stdin.close()
