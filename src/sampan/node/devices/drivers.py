"""Drivers of dynamic resources on this node: who is registered, and the two calls to one (DRA, v1 and v1beta1).

Used by ``claims``; told by the plugin registry of sockets that come and go.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from sampan.node import runtime
from sampan.node.cri.rpc import Channel
from sampan.node.devices.interface import Prepared
from sampan.node.devices.pb import dra_pb2 as pb
from sampan.node.plugins import paths
from sampan.node.plugins.registry import PluginRefused

#: what a driver says that it speaks -> its service; the newest first
_SERVICES: Final = {
    "v1.DRAPlugin": "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/",
    "v1beta1.DRAPlugin": "/k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin/",
}
#: the kubelet's own
_CALL_SECONDS: Final = 45.0
#: of a message, as grpc-go's default; and of what one claim's devices are called together
_LARGEST_MESSAGE: Final = 4 << 20
_LONGEST_NAMES: Final = 64 << 10


class DriverFailed(Exception):
    """A driver said no, or nothing."""


class ClaimName(NamedTuple):
    namespace: str
    name: str
    uid: str


class _Driver(NamedTuple):
    """``socket`` is where it registered, ``server`` where its service is."""

    socket: Path
    server: Path
    service: str


class Drivers:
    """A handler of the plugin registry."""

    def __init__(self, root: Path) -> None:
        """``root``: the node's, which programs in pods know by another name (``plugins.paths``)."""
        self._root = root
        #: by name, the newest registration last: while a driver is replaced there are two
        self._registered: dict[str, list[_Driver]] = {}

    async def register(self, name: str, endpoint: str, versions: Sequence[str], socket: Path) -> None:
        service = next((path for version, path in _SERVICES.items() if version in versions), None)
        if service is None:
            raise PluginRefused(
                f"none of the services which are supported by the kubelet are supported by the DRA driver {name}: "
                f"it has {', '.join(versions) or 'none'}, the kubelet {', '.join(_SERVICES)}"
            )
        server = paths.on_machine(Path(endpoint.removeprefix("unix://")), self._root)
        self._registered.setdefault(name, []).append(_Driver(socket, server, service))

    async def deregister(self, name: str, socket: Path) -> None:
        left = [each for each in self._registered.get(name, ()) if each.socket != socket]
        if left:
            self._registered[name] = left
        else:
            self._registered.pop(name, None)

    async def prepare(self, driver: str, claim: ClaimName) -> list[Prepared]:
        """Idempotent, by the interface. Raises DriverFailed."""
        request = pb.NodePrepareResourcesRequest(claims=[_message(claim)])
        answers = await self._call(driver, "NodePrepareResources", request, pb.NodePrepareResourcesResponse)
        answer = answers.claims.get(claim.uid)
        if answer is None or answer.error:
            why = answer.error if answer is not None else "NodePrepareResources skipped the claim"
            raise DriverFailed(f"driver {driver}: claim {claim.namespace}/{claim.name}: {why}")
        if answer.ByteSize() > _LONGEST_NAMES:
            why = f"its devices' names are longer than {_LONGEST_NAMES} bytes"
            raise DriverFailed(f"driver {driver}: claim {claim.namespace}/{claim.name}: {why}")
        return [
            Prepared(tuple(each.request_names), tuple(each.cdi_device_ids), each.pool_name, each.device_name)
            for each in answer.devices
        ]

    async def unprepare(self, driver: str, claim: ClaimName) -> None:
        """Idempotent, by the interface. Raises DriverFailed."""
        request = pb.NodeUnprepareResourcesRequest(claims=[_message(claim)])
        answers = await self._call(driver, "NodeUnprepareResources", request, pb.NodeUnprepareResourcesResponse)
        answer = answers.claims.get(claim.uid)
        if answer is None or answer.error:
            why = answer.error if answer is not None else "NodeUnprepareResources skipped the claim"
            raise DriverFailed(f"driver {driver}: claim {claim.namespace}/{claim.name}: {why}")

    async def _call(self, name: str, method: str, request: object, answer: type) -> pb.NodePrepareResourcesResponse:
        registered = self._registered.get(name)
        if not registered:
            raise DriverFailed(f"DRA driver {name} is not registered")
        driver = registered[-1]
        channel = Channel(str(driver.server), _LARGEST_MESSAGE)
        try:
            found: pb.NodePrepareResourcesResponse = await channel.call(
                driver.service + method, request, answer, _CALL_SECONDS
            )
        except runtime.RuntimeCallError as error:
            raise DriverFailed(f"driver {name}: {error}") from error
        finally:
            await channel.close()
        return found


def _message(claim: ClaimName) -> pb.Claim:
    return pb.Claim(namespace=claim.namespace, uid=claim.uid, name=claim.name)
