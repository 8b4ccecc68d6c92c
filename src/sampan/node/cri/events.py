"""containerd's event stream as ``RuntimeEvent``s: a container's end is known in milliseconds, without polling.

containerd publishes /tasks/exit before its CRI plugin has recorded the exit; an event is passed on only when
``container_status`` agrees, because the pod worker acts on the status at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from sampan.node import runtime
from sampan.node.cri import rpc
from sampan.node.cri.pb import events_pb2 as pb

_SUBSCRIBE = "/containerd.services.events.v1.Events/Subscribe"
_NAMESPACE = "k8s.io"
_FILTERS = [f'namespace=={_NAMESPACE},topic=="/tasks/{name}"' for name in ("exit", "oom")]
_RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_SUBSCRIBED_SECONDS = 0.5
_SETTLE_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)

StatusOf = Callable[[str], Awaitable[runtime.Container]]


async def follow(channel: rpc.Channel, status_of: StatusOf) -> AsyncIterator[runtime.RuntimeEvent]:
    queue: asyncio.Queue[runtime.RuntimeEvent] = asyncio.Queue()
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(_read(channel, status_of, queue, tasks), name="containerd-events")
        try:
            while True:
                yield await queue.get()
        finally:
            reader.cancel()


async def _read(
    channel: rpc.Channel,
    status_of: StatusOf,
    queue: asyncio.Queue[runtime.RuntimeEvent],
    tasks: asyncio.TaskGroup,
) -> None:
    request = pb.SubscribeRequest(filters=_FILTERS)
    attempt = 0
    while True:
        try:
            async for envelope in channel.stream(
                _SUBSCRIBE, request, pb.Envelope, (("containerd-namespace", _NAMESPACE),)
            ):
                attempt = 0
                if envelope is None:
                    queue.put_nowait(runtime.RuntimeEvent("lost"))
                    # Again when the subscription has certainly begun: what happened in between was not announced.
                    tasks.create_task(_later(queue, runtime.RuntimeEvent("lost")), name="events-subscribed")
                elif envelope.topic == "/tasks/exit":
                    exit_event = pb.TaskExit.FromString(envelope.event.value)
                    if exit_event.id == exit_event.container_id:  # else an exec inside ended
                        tasks.create_task(_settle(exit_event.container_id, status_of, queue), name="settle-exit")
                else:
                    oom = pb.TaskOOM.FromString(envelope.event.value)
                    queue.put_nowait(runtime.RuntimeEvent("oom", oom.container_id))
        except runtime.RuntimeCallError:
            pass  # containerd restarts or is upgraded: connect again
        await asyncio.sleep(_RECONNECT_SECONDS[min(attempt, len(_RECONNECT_SECONDS) - 1)])
        attempt += 1


async def _later(queue: asyncio.Queue[runtime.RuntimeEvent], event: runtime.RuntimeEvent) -> None:
    await asyncio.sleep(_SUBSCRIBED_SECONDS)
    queue.put_nowait(event)


async def _settle(container_id: str, status_of: StatusOf, queue: asyncio.Queue[runtime.RuntimeEvent]) -> None:
    for delay in _SETTLE_SECONDS:
        try:
            if (await status_of(container_id)).state == "exited":
                break
        except runtime.RuntimeNotFound:
            break  # a sandbox, or removed already
        except runtime.RuntimeCallError:
            pass  # asked again after the delay; the relist that follows a reconnect finds it in any case
        await asyncio.sleep(delay)
    queue.put_nowait(runtime.RuntimeEvent("exit", container_id))
