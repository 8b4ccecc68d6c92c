"""Calls to one driver on its unix socket: identity, controller and node services, errors translated.

Used by the node's volume plugin, by plugin registration and by the controllers that stand in for a driver's sidecars.
Every call has a deadline and a bound on its answer. Nothing here logs, so that no request's secrets reach a log.
Does not retry: what a failure means is in the error's class (``sampan.csi.errors``).
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

# Programs are started by fork and exec here; gRPC's handlers for a fork that goes on in Python only warn about it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc  # reads its environment when imported
import grpc.aio
import orjson
from google.protobuf.message import DecodeError

from sampan.csi.errors import Uncertain, driver_error, go_code
from sampan.csi.methods import METHODS
from sampan.csi.pb import csi_pb2 as csi
from sampan.csi.pb import pluginregistration_pb2 as registration

_TIMEOUT_SECONDS = 120.0  # the kubelet's own for every call to a driver
_LONGEST_ANSWER_BYTES = 4 << 20
_OPTIONS = [
    ("grpc.max_receive_message_length", _LONGEST_ANSWER_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 10_000),  # whatever its name says, how long one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]
#: Context keys whose values are credentials, besides everything in a field named ``secrets``.
_TOKENS_KEY = "csi.storage.k8s.io/serviceAccount.tokens"


class DriverClient:
    """One connection. Made without connecting; a call to a socket that nobody serves is ``Uncertain`` at once."""

    def __init__(self, socket_path: str, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self.socket_path = socket_path
        self._timeout_seconds = timeout_seconds
        self._channel = grpc.aio.insecure_channel(f"unix:{socket_path}", options=_OPTIONS)
        self._stubs: dict[str, Any] = {}
        self._closed = False

    async def close(self) -> None:
        """Calls that are under way, and every later one, are ``Uncertain``."""
        self._closed = True
        await self._channel.close(None)

    async def call(self, path: str, request: Any, timeout_seconds: float | None = None) -> Any:
        """Any call of ``sampan.csi.methods``. Raises ``DriverError``."""
        if self._closed:
            raise _gone()
        answer_type = METHODS[path][1]
        stub = self._stubs.get(path)
        if stub is None:
            # The answer comes as bytes: one that cannot be read is told from an error that the driver reports.
            stub = self._stubs[path] = self._channel.unary_unary(path, type(request).SerializeToString, None)
        try:
            data = await stub(request, timeout=timeout_seconds or self._timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise driver_error(go_code(error.code().name), error.details() or "", _secrets(request)) from None
        except asyncio.CancelledError:
            # gRPC cancels the calls of a channel that is closed, which ends nothing but the call.
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise _gone() from None
        try:
            return answer_type.FromString(data)
        except DecodeError:
            raise Uncertain("Internal", "the driver's answer is not a message of the interface") from None

    # --- registration -----------------------------------------------------------------------------------------------

    async def registration_info(self, timeout_seconds: float | None = None) -> registration.PluginInfo:
        info: registration.PluginInfo = await self.call(
            "/pluginregistration.Registration/GetInfo", registration.InfoRequest(), timeout_seconds
        )
        return info

    async def notify_registration(self, error: str = "", timeout_seconds: float | None = None) -> None:
        """``error`` empty: registered."""
        status = registration.RegistrationStatus(plugin_registered=not error, error=error)
        await self.call("/pluginregistration.Registration/NotifyRegistrationStatus", status, timeout_seconds)

    # --- identity ---------------------------------------------------------------------------------------------------

    async def plugin_info(self) -> csi.GetPluginInfoResponse:
        info: csi.GetPluginInfoResponse = await self.call("/csi.v1.Identity/GetPluginInfo", csi.GetPluginInfoRequest())
        return info

    async def plugin_capabilities(self) -> frozenset[str]:
        """``CONTROLLER_SERVICE``, ``VOLUME_ACCESSIBILITY_CONSTRAINTS``, …, and ``ONLINE`` or ``OFFLINE`` expansion."""
        answer = await self.call("/csi.v1.Identity/GetPluginCapabilities", csi.GetPluginCapabilitiesRequest())
        names = set()
        for capability in answer.capabilities:
            kind = capability.WhichOneof("type")
            if kind is not None:
                part = getattr(capability, kind)
                names.add(_enum_name(type(part).Type, part.type))
        return frozenset(names)

    async def probe(self) -> bool:
        """Whether the driver is ready; a driver that says nothing about it is."""
        answer = await self.call("/csi.v1.Identity/Probe", csi.ProbeRequest())
        return answer.ready.value if answer.HasField("ready") else True

    # --- controller -------------------------------------------------------------------------------------------------

    async def controller_capabilities(self) -> frozenset[str]:
        answer = await self.call("/csi.v1.Controller/ControllerGetCapabilities", csi.ControllerGetCapabilitiesRequest())
        types = csi.ControllerServiceCapability.RPC.Type
        return frozenset(_enum_name(types, capability.rpc.type) for capability in answer.capabilities)

    async def controller(self, name: str, request: Any, timeout_seconds: float | None = None) -> Any:
        """``CreateVolume``, ``ControllerPublishVolume``, …: the answer of the same name."""
        return await self.call(f"/csi.v1.Controller/{name}", request, timeout_seconds)

    # --- node -------------------------------------------------------------------------------------------------------

    async def node_capabilities(self) -> frozenset[str]:
        answer = await self.call("/csi.v1.Node/NodeGetCapabilities", csi.NodeGetCapabilitiesRequest())
        types = csi.NodeServiceCapability.RPC.Type
        return frozenset(_enum_name(types, capability.rpc.type) for capability in answer.capabilities)

    async def node_info(self) -> csi.NodeGetInfoResponse:
        info: csi.NodeGetInfoResponse = await self.node("NodeGetInfo", csi.NodeGetInfoRequest())
        return info

    async def node(self, name: str, request: Any, timeout_seconds: float | None = None) -> Any:
        """``NodeStageVolume``, ``NodePublishVolume``, …: the answer of the same name."""
        return await self.call(f"/csi.v1.Node/{name}", request, timeout_seconds)


def _gone() -> Uncertain:
    return Uncertain("Canceled", "the connection to the driver is closed")


def _enum_name(types: Any, number: int) -> str:
    """The value's name; ``UNKNOWN`` for one of a later version of the interface."""
    return str(types.Name(number)) if number in types.values() else "UNKNOWN"


def _secrets(request: Any) -> list[str]:
    secrets = dict(request.secrets) if "secrets" in request.DESCRIPTOR.fields_by_name else {}
    found = list(secrets.values())
    context = request.volume_context if "volume_context" in request.DESCRIPTOR.fields_by_name else {}
    for holder in (secrets, context):
        if _TOKENS_KEY in holder:
            found += [holder[_TOKENS_KEY], *_tokens(holder[_TOKENS_KEY])]
    return found


def _tokens(text: str) -> list[str]:
    """Each by itself: a driver that complains of one does not show all."""
    try:
        by_audience = orjson.loads(text)
        return [str(each["token"]) for each in by_audience.values()]
    except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError):
        return []
