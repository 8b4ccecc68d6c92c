"""The serving side of the interface on a unix socket: for drivers written here, and for those of tests.

A driver is any object with an ``async`` method for each call that it has, named as the call is and taking the request:
``async def NodeStageVolume(self, request)``. It fails a call by raising ``Refusal``. Calls it lacks answer
Unimplemented.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc  # reads its environment when imported
import grpc.aio

from sampan.api.faults import cause
from sampan.csi.methods import METHODS

log = logging.getLogger(__name__)

Answer = Callable[[Any], Awaitable[Any]]


class Refusal(Exception):
    """A call that fails with ``code``, one of ``grpc.StatusCode``'s names, and ``details`` for whoever made it."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = grpc.StatusCode[code]
        self.details = details


async def serve(socket_path: str, driver: object) -> grpc.aio.Server:
    """Serves until the returned server is stopped. A socket left behind at the path is replaced."""
    Path(socket_path).unlink(missing_ok=True)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    services: dict[str, dict[str, Any]] = {}
    for path, (request_type, answer_type) in METHODS.items():
        _, service, name = path.split("/")
        method: Answer | None = getattr(driver, name, None)
        if method is not None:
            services.setdefault(service, {})[name] = grpc.unary_unary_rpc_method_handler(
                _handler(method),
                request_deserializer=request_type.FromString,
                response_serializer=_serializer(answer_type),
            )
    for service, handlers in services.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"unix:{socket_path}")
    await server.start()
    return server


def _handler(method: Answer) -> Callable[[Any, Any], Awaitable[Any]]:
    async def handle(request: Any, context: Any) -> Any:
        try:
            return await method(request)
        except Refusal as refusal:
            code, details = refusal.code, refusal.details
        except OSError as error:
            code, details = grpc.StatusCode.INTERNAL, cause(error)
        except Exception:  # a driver's bug fails the call, in words that are not the program's
            log.exception("a call failed")
            code, details = grpc.StatusCode.INTERNAL, "the driver failed; its log says how"
        return await context.abort(code, details)

    return handle


def _serializer(answer_type: Any) -> Callable[[Any], bytes]:
    def serialize(answer: Any) -> bytes:
        return answer if isinstance(answer, bytes) else answer_type.SerializeToString(answer)

    return serialize
