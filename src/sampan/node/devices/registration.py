"""Where device plug-ins introduce themselves: the Registration service on ``kubelet.sock``.

Used by ``manager``. Everything else in the directory is removed before it is served, as the kubelet does: a plug-in
sees its socket go and registers anew.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc  # reads its environment when imported
import grpc.aio

from sampan.api.validation.resources import is_extended
from sampan.node.devices.pb import deviceplugin_pb2 as pb

SOCKET = "kubelet.sock"
_VERSION = "v1beta1"
_LARGEST_REQUEST = 64 << 10
_STOP_SECONDS = 1.0

#: Is told a resource and the socket of its plug-in; what it raises as ValueError is told to the plug-in.
Registered = Callable[[str, Path], Awaitable[None]]


async def serve(directory: Path, registered: Registered, serving: asyncio.Event) -> None:
    """Until cancelled; ``serving`` is set once plug-ins may come. Raises OSError when the socket cannot be made."""
    await asyncio.to_thread(_clear, directory)
    server = grpc.aio.server(
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", _LARGEST_REQUEST)],
        maximum_concurrent_rpcs=64,
    )

    async def register(request: pb.RegisterRequest, context: grpc.aio.ServicerContext[object, object]) -> pb.Empty:
        try:
            await registered(*_checked(request, directory))
        except ValueError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        return pb.Empty()

    handler = grpc.unary_unary_rpc_method_handler(
        register,
        request_deserializer=pb.RegisterRequest.FromString,
        response_serializer=pb.Empty.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("v1beta1.Registration", {"Register": handler}),)
    )
    server.add_insecure_port(f"unix:{directory / SOCKET}")
    await server.start()
    serving.set()
    try:
        await server.wait_for_termination()
    finally:
        await server.stop(_STOP_SECONDS)


def _checked(request: pb.RegisterRequest, directory: Path) -> tuple[str, Path]:
    if request.version != _VERSION:
        raise ValueError(
            f'requested API version "{request.version}" is not supported by kubelet. '
            f'Supported versions are ["{_VERSION}"]'
        )
    if not is_extended(request.resource_name):
        raise ValueError(f'the ResourceName "{request.resource_name}" is invalid')
    name = request.endpoint
    if not name or name in (".", "..", SOCKET) or "/" in name:
        raise ValueError(f'the Endpoint "{name}" is not the name of a socket in {directory}')
    return request.resource_name, directory / name


def _clear(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    for entry in directory.iterdir():
        if not entry.is_dir() or entry.is_symlink():
            entry.unlink(missing_ok=True)
