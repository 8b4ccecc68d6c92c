"""Who may use an image that this node pulled: what was pulled, and with whose credentials (KEP-2535).

Without it a pod that knows the name of a private image would run it once anybody's pod on the node has pulled it. An
*intent* is written before a pull, so that an image whose pull outlived a killed agent is not taken for one that was
put on the node by hand; those are everybody's, and stay so when a pod's pull brings the same image: ``sampan image``
writes down (``put_by_hand``) which image it gave a name. Used by ``manager.ImageManager``, on one event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import orjson

from sampan.api.types import Obj
from sampan.node import wholefile
from sampan.node.images.keyring import Credential

#: beyond so many Secrets of one image, others that fit are not noted (they are asked of the registry again)
_KNOWN_SECRETS = 100

Kind = Literal["pulling", "pulled", "by-hand"]


def folder(root_dir: Path) -> Path:
    """Where the agent with this directory keeps them."""
    return root_dir / "image_manager"


class RecordStore(Protocol):
    """Small records that outlive the agent. Raises OSError."""

    async def load(self, kind: Kind) -> dict[str, Obj]: ...
    async def find(self, kind: Kind, key: str) -> Obj | None: ...
    async def damaged(self, kind: Kind, key: str) -> bool: ...
    async def write(self, kind: Kind, key: str, record: Obj) -> None: ...
    async def remove(self, kind: Kind, key: str) -> None: ...


class MemoryRecords:
    """For nodes that keep nothing on a disk."""

    async def load(self, kind: Kind) -> dict[str, Obj]:
        return {}

    async def find(self, kind: Kind, key: str) -> Obj | None:
        return None

    async def damaged(self, kind: Kind, key: str) -> bool:
        return False

    async def write(self, kind: Kind, key: str, record: Obj) -> None:
        return

    async def remove(self, kind: Kind, key: str) -> None:
        return


class FileRecords:
    """A small file each, written whole or not at all. ``load`` and ``find`` pass over one that cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def load(self, kind: Kind) -> dict[str, Obj]:
        return await asyncio.to_thread(_load, self._folder / kind)

    async def find(self, kind: Kind, key: str) -> Obj | None:
        found = await asyncio.to_thread(_read, self._path(kind, key))
        return None if found is None else found[1]

    async def damaged(self, kind: Kind, key: str) -> bool:
        """There is one that cannot be read."""
        path = self._path(kind, key)
        return await asyncio.to_thread(lambda: _read(path) is None and path.exists())

    async def write(self, kind: Kind, key: str, record: Obj) -> None:
        """On the disk when this returns: without its record an image is everybody's."""
        content = orjson.dumps({"key": key, "record": record})
        await asyncio.to_thread(wholefile.replace, self._path(kind, key), content, directory_mode=0o700, flush=True)

    async def remove(self, kind: Kind, key: str) -> None:
        await asyncio.to_thread(self._path(kind, key).unlink, missing_ok=True)

    def _path(self, kind: Kind, key: str) -> Path:
        return self._folder / kind / f"sha256-{hashlib.sha256(key.encode()).hexdigest()}"


def _load(folder: Path) -> dict[str, Obj]:
    found = {}
    for path in folder.glob("sha256-*"):
        content = None if path.suffix else _read(path)
        if content is not None:
            found[content[0]] = content[1]
    return found


def _read(path: Path) -> tuple[str, Obj] | None:
    try:
        content = orjson.loads(path.read_bytes())
        return str(content["key"]), dict(content["record"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


async def put_by_hand(store: RecordStore, reference: str, image_ids: Iterable[str]) -> None:
    """The person who runs the node gave the image (one of these) this name: it is for all pods. None: took it away."""
    ids = sorted(image_ids)
    await (store.write("by-hand", reference, {"ids": ids}) if ids else store.remove("by-hand", reference))


class PullRecords:
    """Invariant: memory is what counts; the store follows it, one write after the other.

    A record is of an image's id: for each repository that it was pulled from, ``everybody`` or a list of ``secrets``
    (uid, namespace, name, hash of the credentials). A repository that is missing was pulled, nobody knows how.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._pulled: dict[str, Obj] = {}
        self._intents: set[str] = set()
        self._under_way: Counter[str] = Counter()
        #: counts what was noted, and says when that was of each image
        self.moment = 0
        self._noted: dict[str, int] = {}
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        self._pulled = await self._store.load("pulled")
        self._intents = set(await self._store.load("pulling"))

    def broken_off(self) -> list[str]:
        """References whose pull began and never ended: of the agent before this one, or of askers that went away."""
        return sorted(self._intents - set(self._under_way))

    async def adopt(self, reference: str, image_id: str | None) -> None:
        """What became of a pull that was broken off. ``image_id`` None: the image is not there."""
        if reference in self._under_way:
            return  # it has begun again meanwhile
        if image_id is not None and image_id not in self._pulled:
            await self._put(image_id, {})
        await self._end(reference)

    async def begin(self, reference: str) -> None:
        """Whatever becomes of it, ``leave`` follows, unless this raises OSError."""
        self._under_way[reference] += 1
        if reference in self._intents:
            return
        self._intents.add(reference)
        try:
            async with self._writing:
                await self._store.write("pulling", reference, {})
        except BaseException:
            self._intents.discard(reference)
            self.leave(reference)
            raise

    def leave(self, reference: str) -> None:
        """One asker is done with a pull, however it ended; the intent stays until its end is known."""
        self._under_way[reference] -= 1
        if self._under_way[reference] <= 0:
            del self._under_way[reference]

    async def failed(self, reference: str) -> None:
        """The registry or the runtime said no."""
        if self._under_way[reference] <= 1:
            await self._end(reference)

    async def pulled(self, reference: str, repository: str, image_id: str, used: Credential | None) -> None:
        """``used`` None: the registry gave it to everybody."""
        access = {"everybody": True} if used is None or used.of_node else {"secrets": [_describe(used)]}
        try:
            await self._put(image_id, _merge(self._pulled.get(image_id, {}), repository, access))
        finally:
            self.leave(reference)
        if reference not in self._under_way:
            await self._end(reference)

    async def preloaded(self, reference: str, image_id: str) -> bool:
        """Whether it was put here by hand: no pod's pull brought it, nor is one just bringing it. Where a disk lost
        what a record said, one did, and nobody knows how."""
        if image_id in self._pulled or reference in self._intents:
            return False
        return not (await self._store.damaged("pulled", image_id) or await self._store.damaged("pulling", reference))

    async def by_hand(self, reference: str, image_id: str) -> bool:
        """Whether this image was given this name by hand, whoever else pulled it since."""
        record = await self._store.find("by-hand", reference)
        return record is not None and image_id in _listed(record)

    async def given_by_hand(self) -> dict[str, Obj]:
        return await self._store.load("by-hand")

    async def forget_by_hand(self, given: dict[str, Obj], image_ids: Iterable[str]) -> None:
        """Those of ``given`` (read before the images were listed) whose image has gone: the next one is another's."""
        present = set(image_ids)
        for reference, record in given.items():
            if present.isdisjoint(_listed(record)):
                await self._store.remove("by-hand", reference)

    async def may_use(self, reference: str, repository: str, image_id: str, credentials: Sequence[Credential]) -> bool:
        """Whether a pod with these may run the image that was pulled, without asking its registry again."""
        record = self._pulled.get(image_id)
        if record is None:
            return False
        access = record.get(repository)
        if access is None:
            return False
        if access.get("everybody"):
            return True
        known = access.get("secrets") or ()
        for credential in credentials:
            mine = _describe(credential)
            if mine in known:
                return True
            if any(_same_place(mine, each) or each["hash"] == mine["hash"] for each in known):
                # The same credentials in another Secret, or the Secret with new ones: known from now on.
                if len(known) < _KNOWN_SECRETS:
                    await self._put(image_id, _merge(record, repository, {"secrets": [mine]}))
                return True
        return False

    async def keep_only(self, image_ids: Iterable[str], since: int) -> None:
        """Forgets the images that are not on the node. ``since``: the ``moment`` before it was asked for them. What was
        noted after that may have been pulled after the answer: forgotten, it would be everybody's."""
        for image_id in set(self._pulled) - set(image_ids):
            if self._noted.get(image_id, 0) > since:
                continue
            self._pulled.pop(image_id, None)
            self._noted.pop(image_id, None)
            async with self._writing:
                if image_id not in self._pulled:
                    await self._store.remove("pulled", image_id)

    async def _put(self, image_id: str, record: Obj) -> None:
        self.moment += 1
        self._noted[image_id] = self.moment
        if self._pulled.get(image_id) != record:
            self._pulled[image_id] = record
            async with self._writing:
                await self._store.write("pulled", image_id, self._pulled.get(image_id, record))

    async def _end(self, reference: str) -> None:
        self._intents.discard(reference)
        async with self._writing:
            if reference not in self._intents:
                await self._store.remove("pulling", reference)


def _listed(record: Obj) -> list[str]:
    ids = record.get("ids")
    return [each for each in ids if isinstance(each, str)] if isinstance(ids, list) else []


def _describe(credential: Credential) -> dict[str, str]:
    return {
        "uid": credential.uid, "namespace": credential.namespace, "name": credential.name, "hash": credential.hash,
    }  # fmt: skip


def _same_place(mine: dict[str, str], other: dict[str, str]) -> bool:
    return all(mine[key] == other[key] for key in ("uid", "namespace", "name"))


def _merge(record: Obj, repository: str, access: Obj) -> Obj:
    before: Obj = record.get(repository) or {}
    if before.get("everybody") or access.get("everybody"):
        merged: Obj = {"everybody": True}
    else:
        fresh = access["secrets"]
        kept = [each for each in before.get("secrets") or () if not any(_same_place(each, new) for new in fresh)]
        merged = {"secrets": [*kept, *fresh][-_KNOWN_SECRETS:]}
    return {**record, repository: merged}
