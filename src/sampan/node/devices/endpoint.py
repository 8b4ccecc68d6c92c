"""The connection to one device plug-in: its devices as they change, and its answers, bounded in time and size.

Used by ``manager``. Errors of calls are ``sampan.node.runtime.RuntimeCallError``, with gRPC's words in Go's spelling.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

from sampan.node.cri.rpc import Channel
from sampan.node.devices.pb import deviceplugin_pb2 as pb
from sampan.node.devices.plan import Stock

_SERVICE = "/v1beta1.DevicePlugin/"
_CONNECT_SECONDS = 10.0
_PREFER_SECONDS = 10.0
_ALLOCATE_SECONDS = 60.0
_PRE_START_SECONDS = 30.0
_HEALTHY = "Healthy"
#: Of one resource; the ids of more are not remembered.
MOST_DEVICES = 10_000
_LONGEST_ID = 1024
#: more than any kernel knows
_MOST_NODES = 1024
#: of a message, as grpc-go's default; and of what is kept of the answer for one container
_LARGEST_MESSAGE = 4 << 20
_LARGEST_ANSWER = 1 << 20


class Endpoint:
    def __init__(self, socket_path: Path) -> None:
        self._channel = Channel(str(socket_path), _LARGEST_MESSAGE)
        self._options = pb.DevicePluginOptions()

    async def connect(self) -> None:
        """Raises RuntimeCallError."""
        method = f"{_SERVICE}GetDevicePluginOptions"
        self._options = await self._channel.call(method, pb.Empty(), pb.DevicePluginOptions, _CONNECT_SECONDS)

    @property
    def wants_pre_start(self) -> bool:
        return bool(self._options.pre_start_required)

    async def watch(self) -> AsyncIterator[Stock]:
        """Until the plug-in ends it. Raises RuntimeCallError; ValueError when it lists what cannot be."""
        answers = self._channel.stream(f"{_SERVICE}ListAndWatch", pb.Empty(), pb.ListAndWatchResponse)
        async with aclosing(answers):  # type: ignore[type-var]  # generators in practice
            async for answer in answers:
                if answer is not None:
                    yield _stock(answer)

    async def preferred(self, free: Sequence[str], kept: Sequence[str], count: int) -> tuple[str, ...]:
        """What the plug-in would take of ``free``; () when it does not mind. Raises RuntimeCallError."""
        if not self._options.get_preferred_allocation_available or not count:
            return ()
        asked = pb.ContainerPreferredAllocationRequest(
            available_deviceIDs=[*kept, *free], must_include_deviceIDs=kept, allocation_size=len(kept) + count
        )
        answer = await self._channel.call(
            f"{_SERVICE}GetPreferredAllocation",
            pb.PreferredAllocationRequest(container_requests=[asked]),
            pb.PreferredAllocationResponse,
            _PREFER_SECONDS,
        )
        return tuple(answer.container_responses[0].deviceIDs) if answer.container_responses else ()

    async def allocate(self, devices: Sequence[str]) -> bytes:
        """The plug-in's answer for one container, encoded. Raises RuntimeCallError; ValueError when there is none,
        or it has no bound."""
        request = pb.AllocateRequest(container_requests=[pb.ContainerAllocateRequest(devices_ids=devices)])
        answer = await self._channel.call(f"{_SERVICE}Allocate", request, pb.AllocateResponse, _ALLOCATE_SECONDS)
        if not answer.container_responses:
            raise ValueError("no containers return in allocation response")
        encoded: bytes = answer.container_responses[0].SerializeToString()
        if len(encoded) > _LARGEST_ANSWER:
            raise ValueError(f"the allocation response is longer than {_LARGEST_ANSWER} bytes")
        return encoded

    async def pre_start(self, devices: Sequence[str]) -> None:
        """Raises RuntimeCallError."""
        if self.wants_pre_start:
            request = pb.PreStartContainerRequest(devices_ids=devices)
            method = f"{_SERVICE}PreStartContainer"
            await self._channel.call(method, request, pb.PreStartContainerResponse, _PRE_START_SECONDS)

    async def close(self) -> None:
        await self._channel.close()


def _stock(answer: pb.ListAndWatchResponse) -> Stock:
    if len(answer.devices) > MOST_DEVICES:
        raise ValueError(f"it lists {len(answer.devices)} devices, more than {MOST_DEVICES}")
    if any(not device.ID or len(device.ID) > _LONGEST_ID for device in answer.devices):
        raise ValueError(f"it lists a device whose ID is empty or longer than {_LONGEST_ID} characters")
    healthy = frozenset(device.ID for device in answer.devices if device.health == _HEALTHY)
    nodes = {device.ID: tuple(sorted({node.ID for node in device.topology.nodes})) for device in answer.devices}
    if any(not 0 <= node < _MOST_NODES for each in nodes.values() for node in each):
        raise ValueError(f"it lists a device on a NUMA node that is negative, or not below {_MOST_NODES}")
    there = {device: each for device, each in nodes.items() if each}
    return Stock(healthy, frozenset(device.ID for device in answer.devices) - healthy, there)
