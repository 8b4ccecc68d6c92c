"""Volumes that somebody attaches to the node before it can use them: in use here, and attached there.

The attach/detach controller takes no volume away that the Node's status calls in use, so a volume is mounted only when
the API knows that it is in use, and its VolumeAttachment says that it is attached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final, Protocol

from sampan.api.errors import ApiError, Forbidden, NotFound
from sampan.api.reading import part, text_map
from sampan.api.resources import NODES, VOLUME_ATTACHMENTS
from sampan.api.storage.attachments import attached_to, attachment_name, unique_name
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node.volumes.errors import SetupError

#: as the controller waits, and the kubelet
_WAIT_SECONDS: Final = 120.0
_REPORT_SECONDS: Final = 10.0
#: between two looks at what was reported, and how many of them there are before it is asked for again
_REPORTED_SECONDS: Final = 0.02
_ASK_AGAIN: Final = 50
_LOOKS_SECONDS: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Reports(Protocol):
    """The node's own status: ``sampan.node.registration.NodeRegistration``."""

    node: Obj

    def look(self) -> None: ...


class InUse:
    """What the Node's status calls ``volumesInUse``: what pods here want, or what is staged."""

    def __init__(self) -> None:
        self._wanted: dict[str, set[str]] = {}
        self._staged: set[str] = set()

    def names(self) -> list[str]:
        return sorted(self._staged.union(*self._wanted.values()))

    def want(self, uid: str, name: str) -> None:
        self._wanted.setdefault(uid, set()).add(name)

    def forget_pod(self, uid: str) -> bool:
        """Whether it wanted anything."""
        return self._wanted.pop(uid, None) is not None

    def staged(self, name: str) -> None:
        self._staged.add(name)

    def unstaged(self, name: str) -> None:
        self._staged.discard(name)

    def load(self, names: Collection[str]) -> None:
        """Those that an agent before this one staged."""
        self._staged.update(names)


class Attachments:
    def __init__(self, client: Client, node_name: str, in_use: InUse, reports: Reports) -> None:
        self._client = client
        self._node = node_name
        self._in_use = in_use
        self._reports = reports

    async def wait(self, uid: str, driver: str, handle: str) -> dict[str, str]:
        """What the driver said when it attached the volume. Raises SetupError."""
        name = unique_name(driver, handle)
        self._in_use.want(uid, name)
        await self._wait_reported(name)
        return await self._wait_attached(driver, handle)

    async def _wait_reported(self, name: str) -> None:
        try:
            async with asyncio.timeout(_REPORT_SECONDS):
                waited = 0
                while name not in (part(self._reports.node, "status").get("volumesInUse") or ()):
                    if waited % _ASK_AGAIN == 0:
                        self._reports.look()
                    waited += 1
                    await asyncio.sleep(_REPORTED_SECONDS)
        except TimeoutError:
            text = "Volume has not been added to the list of VolumesInUse in the node's volume status"
            raise SetupError(text, "MountVolume.WaitForAttach") from None

    async def _wait_attached(self, driver: str, handle: str) -> dict[str, str]:
        name, unique = attachment_name(handle, driver, self._node), unique_name(driver, handle)
        looks = 0
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                while True:
                    found = await self._attachment(name)
                    if (
                        found is not None
                        and part(found, "status").get("attached") is True
                        and await self._stays(unique)
                    ):
                        return dict(text_map(part(found, "status"), "attachmentMetadata"))
                    await asyncio.sleep(_LOOKS_SECONDS[min(looks, len(_LOOKS_SECONDS) - 1)])
                    looks += 1
        except TimeoutError:
            text = f"timed out waiting for external-attacher of {driver} CSI driver to attach volume {handle}"
            raise SetupError(text, "MountVolume.WaitForAttach") from None

    async def _stays(self, unique: str) -> bool:
        """Nobody has begun to take it off: that would have been said before it was asked whether it is in use here."""
        try:
            node = await self._client.get(NODES, self._node)
        except ApiError:
            return False
        return any(each.get("name") == unique for each in attached_to(node))

    async def _attachment(self, name: str) -> Obj | None:
        """None: not yet there, or going. Raises SetupError."""
        try:
            found = await self._client.get(VOLUME_ATTACHMENTS, name)
        except NotFound:
            return None
        except ApiError as error:
            if isinstance(error, Forbidden):  # the authorizer knows it only once it is there
                return None
            raise SetupError(f"volume attachment {name}: {error.message}", "MountVolume.WaitForAttach") from error
        return None if part(found, "metadata").get("deletionTimestamp") else found
