"""Where the news of ended containers comes from: one class for each way a runtime has of telling.

``choose`` picks by the runtime's own name. A source is one connection: it ends or raises when that breaks, and
``events`` asks for the next. It tells what ended, not whether the runtime's own status says so yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from sampan.node import runtime
from sampan.node.cri import rpc
from sampan.node.cri.pb import cri_pb2, events_pb2
from sampan.records import dataclass

_CONTAINERD_SUBSCRIBE = "/containerd.services.events.v1.Events/Subscribe"
_CONTAINERD_NAMESPACE = "k8s.io"
_CONTAINERD_FILTERS = [f'namespace=={_CONTAINERD_NAMESPACE},topic=="/tasks/{name}"' for name in ("exit", "oom")]
_CRI_EVENTS = "/runtime.v1.RuntimeService/GetContainerEvents"
RELIST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Connected:
    """What happens from now on is told, or (not ``certain``) from a moment after."""

    certain: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """A container or a sandbox, by its id."""

    id: str


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    container_id: str


Notice = Connected | Ended | OutOfMemory


class EventSource(Protocol):
    def notices(self) -> AsyncGenerator[Notice]:
        """First ``Connected``. Raises RuntimeCallError; RuntimeLacks when the runtime does not have this way."""
        ...


class Listing(Protocol):
    """The part of ``runtime.PodRuntime`` that this package needs here."""

    async def version(self) -> runtime.Version: ...
    async def list_sandboxes(self) -> list[runtime.Sandbox]: ...
    async def list_containers(self) -> list[runtime.Container]: ...
    async def container_status(self, container_id: str) -> runtime.Container: ...
    async def sandbox_status(self, sandbox_id: str) -> runtime.Sandbox: ...


async def choose(channel: rpc.Channel, listing: Listing) -> EventSource:
    """containerd has an event service of its own, in every version; what else there is speaks CRI's stream, or none."""
    name = (await listing.version()).name
    return ContainerdEvents(channel) if name == "containerd" else CriEvents(channel)


class ContainerdEvents:
    """containerd's event service: exits as the shims report them, and memory kills, which CRI's stream leaves out."""

    def __init__(self, channel: rpc.Channel) -> None:
        self._channel = channel

    async def notices(self) -> AsyncGenerator[Notice]:
        request = events_pb2.SubscribeRequest(filters=_CONTAINERD_FILTERS)
        metadata = (("containerd-namespace", _CONTAINERD_NAMESPACE),)
        async for envelope in self._channel.stream(_CONTAINERD_SUBSCRIBE, request, events_pb2.Envelope, metadata):
            if envelope is None:
                yield Connected(certain=False)
            elif envelope.topic == "/tasks/exit":
                ended = events_pb2.TaskExit.FromString(envelope.event.value)
                if ended.id == ended.container_id:  # else a command inside ended
                    yield Ended(ended.container_id)
            else:
                yield OutOfMemory(events_pb2.TaskOOM.FromString(envelope.event.value).container_id)


class CriEvents:
    """CRI's GetContainerEvents (CRI-O, newer containerds)."""

    def __init__(self, channel: rpc.Channel) -> None:
        self._channel = channel

    async def notices(self) -> AsyncGenerator[Notice]:
        ends = (cri_pb2.CONTAINER_STOPPED_EVENT, cri_pb2.CONTAINER_DELETED_EVENT)
        request = cri_pb2.GetEventsRequest()
        async for event in self._channel.stream(_CRI_EVENTS, request, cri_pb2.ContainerEventResponse):
            if event is None:
                yield Connected(certain=False)
            elif event.container_event_type in ends:
                yield Ended(event.container_id)


class Relisting:
    """For a runtime that tells nothing: two lists a second apart, compared."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    async def notices(self) -> AsyncGenerator[Notice]:
        alive, dead = await self._look()
        yield Connected(certain=True)
        while True:
            await asyncio.sleep(RELIST_SECONDS)
            still_alive, now_dead = await self._look()
            # What began and ended between two looks was never seen alive.
            for ended in sorted((alive - still_alive) | (now_dead - dead)):
                yield Ended(ended)
            alive, dead = still_alive, now_dead

    async def _look(self) -> tuple[frozenset[str], frozenset[str]]:
        """Ids of what lives and of what has ended."""
        states = {item.id: item.ready for item in await self._listing.list_sandboxes()}
        states |= {item.id: item.state in ("created", "running") for item in await self._listing.list_containers()}
        living = frozenset(key for key, lives in states.items() if lives)
        return living, frozenset(states) - living
