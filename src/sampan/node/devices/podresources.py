"""The pod-resources API: which container has which devices, processors and claims (k8s.io/kubelet/pkg/apis/podresources
v1), for monitors of devices and the like, on ``pod-resources/kubelet.sock`` below the node's root.

Used by ``all``. It reads what the managers know when it is asked, and keeps nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc  # reads its environment when imported
import grpc.aio

from sampan.api import objects
from sampan.api.pods import containers
from sampan.api.reading import parts, text
from sampan.api.types import Obj
from sampan.node.devices.interface import Claimed, Sharing
from sampan.node.devices.pb import podresources_pb2 as pb
from sampan.node.memorymanager.policy import Block
from sampan.node.topology.hints import nodes_of
from sampan.records import dataclass

DIRECTORY, SOCKET = "pod-resources", "kubelet.sock"
_SERVICE: Final = "v1.PodResourcesLister"
_LARGEST_REQUEST: Final = 64 << 10
_AT_ONCE: Final = 16
_STOP_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is asked when somebody asks. ``lent``: devices of plug-ins by resource, of a pod's uid and container's name;
    ``claimed``: of a container of a pod; ``stock``: healthy devices by resource; ``nodes``: on which NUMA nodes devices
    are, by resource and device."""

    sharing: Sharing
    lent: Callable[[str, str], Mapping[str, tuple[str, ...]]]
    claimed: Callable[[Obj, Obj], list[Claimed]]
    stock: Callable[[], Mapping[str, frozenset[str]]]
    nodes: Callable[[], Mapping[str, Mapping[str, tuple[int, ...]]]] = dict


def pod_resources(pod: Obj, known: Known) -> pb.PodResources:
    """Of main containers and sidecars: what runs beside each other."""
    uid = objects.uid(pod)
    nodes = known.nodes()
    running = [*containers.sidecars(pod), *parts(pod.get("spec", {}), "containers")]
    return pb.PodResources(
        name=objects.name(pod),
        namespace=objects.namespace(pod),
        containers=[
            pb.ContainerResources(
                name=text(container, "name"),
                devices=_devices(known.lent(uid, text(container, "name")), nodes),
                cpu_ids=sorted(known.sharing.exclusive(uid, text(container, "name"))),
                memory=_memory(known.sharing.memory(uid, text(container, "name"))),
                dynamic_resources=[_dynamic(each) for each in known.claimed(pod, container)],
            )
            for container in running
        ],
    )


def allocatable(known: Known) -> pb.AllocatableResourcesResponse:
    stock = {name: tuple(sorted(devices)) for name, devices in known.stock().items() if devices}
    return pb.AllocatableResourcesResponse(
        devices=_devices(stock, known.nodes()),
        cpu_ids=sorted(known.sharing.assignable()),
        memory=_memory(known.sharing.allocatable_memory()),
    )


def _memory(blocks: Iterable[Block]) -> list[pb.ContainerMemory]:
    return [
        pb.ContainerMemory(memory_type=block.resource, size=block.size, topology=_topology(nodes_of(block.nodes)))
        for block in blocks
    ]


def _devices(
    held: Mapping[str, tuple[str, ...]], nodes: Mapping[str, Mapping[str, tuple[int, ...]]]
) -> list[pb.ContainerDevices]:
    """Of one resource, an entry for each place where there are some."""
    found = []
    for name, ids in sorted(held.items()):
        places: dict[tuple[int, ...], list[str]] = {}
        for device in sorted(ids):
            places.setdefault(nodes.get(name, {}).get(device, ()), []).append(device)
        found += [
            pb.ContainerDevices(resource_name=name, device_ids=devices, topology=_topology(place))
            for place, devices in sorted(places.items())
        ]
    return found


def _topology(nodes: Sequence[int]) -> pb.TopologyInfo | None:
    return pb.TopologyInfo(nodes=[pb.NUMANode(ID=node) for node in nodes]) if nodes else None


def _dynamic(claimed: Claimed) -> pb.DynamicResource:
    return pb.DynamicResource(
        claim_name=claimed.name,
        claim_namespace=claimed.namespace,
        claim_resources=[
            pb.ClaimResource(
                driver_name=driver,
                pool_name=device.pool,
                device_name=device.device,
                cdi_devices=[pb.CDIDevice(name=name) for name in device.cdi],
            )
            for driver, device in claimed.devices
        ],
    )


async def serve(root: Path, known: Known) -> None:
    """Until cancelled. Raises OSError when the socket cannot be made."""
    place = root / DIRECTORY / SOCKET
    await asyncio.to_thread(_clear, place)
    server = grpc.aio.server(
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", _LARGEST_REQUEST)],
        maximum_concurrent_rpcs=_AT_ONCE,
    )

    async def list_all(request: Any, context: Any) -> pb.ListPodResourcesResponse:
        return pb.ListPodResourcesResponse(pod_resources=[pod_resources(pod, known) for pod in known.sharing.pods()])

    async def list_allocatable(request: Any, context: Any) -> pb.AllocatableResourcesResponse:
        return allocatable(known)

    async def get(request: pb.GetPodResourcesRequest, context: Any) -> pb.GetPodResourcesResponse:
        wanted = request.pod_namespace, request.pod_name
        for pod in known.sharing.pods():
            if (objects.namespace(pod), objects.name(pod)) == wanted:
                return pb.GetPodResourcesResponse(pod_resources=pod_resources(pod, known))
        await context.abort(grpc.StatusCode.UNKNOWN, f"pod {wanted[1]} in namespace {wanted[0]} not found")
        raise AssertionError  # abort raises

    def unary(
        answer: Callable[[Any, Any], Awaitable[Any]], request: Any, response: Any
    ) -> grpc.RpcMethodHandler[Any, Any]:
        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=request.FromString, response_serializer=response.SerializeToString
        )

    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler(
            _SERVICE,
            {
                "List": unary(list_all, pb.ListPodResourcesRequest, pb.ListPodResourcesResponse),
                "GetAllocatableResources": unary(
                    list_allocatable, pb.AllocatableResourcesRequest, pb.AllocatableResourcesResponse
                ),
                "Get": unary(get, pb.GetPodResourcesRequest, pb.GetPodResourcesResponse),
            },
        ),
    ))  # fmt: skip
    server.add_insecure_port(f"unix:{place}")
    await server.start()
    place.chmod(0o600)  # whatever this process' umask is: it tells of every pod
    try:
        await server.wait_for_termination()
    finally:
        await server.stop(_STOP_SECONDS)


def _clear(place: Path) -> None:
    """Removes what a predecessor left. As the kubelet's, for root alone."""
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    place.unlink(missing_ok=True)
