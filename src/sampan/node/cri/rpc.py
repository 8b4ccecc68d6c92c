"""gRPC calls on a unix socket, without generated stubs: one small table of methods, errors translated.

Used by ``sampan.node.cri.client`` and ``events``, and for programs that nobody vouches for (``sampan.node.devices``).
Knows nothing of what the messages mean. What is no message, and a connection that is closed meanwhile, are errors of
the call like any other.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NoReturn

# Programs are started by fork and exec here; gRPC's handlers for a fork that goes on in Python only warn about it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc  # reads its environment when imported
import grpc.aio
from google.protobuf.message import DecodeError

from sampan.node import runtime

_MAX_MESSAGE_BYTES = 32 << 20  # ExecSync may return 16 MiB of stdout and stderr each
_OPTIONS = [
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Whatever its name says, how long one attempt may take: a runtime that is busy answers late and is well.
    ("grpc.min_reconnect_backoff_ms", 20_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]

_ERRORS: dict[grpc.StatusCode, type[runtime.RuntimeCallError]] = {
    grpc.StatusCode.NOT_FOUND: runtime.RuntimeNotFound,
    grpc.StatusCode.UNAVAILABLE: runtime.RuntimeUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: runtime.RuntimeDeadline,
    grpc.StatusCode.UNIMPLEMENTED: runtime.RuntimeLacks,
}


def raise_translated(error: grpc.aio.AioRpcError) -> NoReturn:
    code = error.code()
    details = error.details() or ""
    # The kubelet's own texts carry gRPC's wording; events are matched on it.
    message = f"rpc error: code = {_go_code(code)} desc = {details}"
    raise _ERRORS.get(code, runtime.RuntimeCallError)(message) from error


def _go_code(code: grpc.StatusCode) -> str:
    """``DEADLINE_EXCEEDED`` as grpc-go writes it: ``DeadlineExceeded``."""
    return "OK" if code is grpc.StatusCode.OK else "".join(part.capitalize() for part in code.name.split("_"))


_MALFORMED: Final = object()


def _reader(response_type: Any) -> Callable[[bytes], Any]:
    """gRPC's own way with what is no message is a traceback in the log, and None."""

    def read(data: bytes) -> Any:
        try:
            return response_type.FromString(data)
        except DecodeError:
            return _MALFORMED

    return read


def _checked(response: Any) -> Any:
    if response is _MALFORMED:
        text = "rpc error: code = Internal desc = grpc: failed to unmarshal the received message"
        raise runtime.RuntimeCallError(text)
    return response


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Channel:
    """One connection to a unix socket. Calls carry a deadline, so that a hung runtime is noticed."""

    def __init__(self, socket_path: str, max_answer_bytes: int = _MAX_MESSAGE_BYTES) -> None:
        options = [*_OPTIONS, ("grpc.max_receive_message_length", max_answer_bytes)]
        self._channel = grpc.aio.insecure_channel(f"unix://{socket_path}", options=options)
        self._methods: dict[str, Any] = {}

    async def call(
        self,
        method: str,
        request: Any,
        response_type: Any,
        timeout_seconds: float | None = 120,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> Any:
        """``method`` is ``/package.Service/Method``; ``timeout_seconds`` None: no deadline."""
        stub = self._methods.get(method)
        if stub is None:
            stub = self._methods[method] = self._channel.unary_unary(
                method,
                request_serializer=type(request).SerializeToString,
                response_deserializer=_reader(response_type),
            )
        try:
            return _checked(await stub(request, timeout=timeout_seconds, metadata=metadata))
        except grpc.aio.AioRpcError as error:
            raise_translated(error)
        except (grpc.aio.UsageError, asyncio.CancelledError) as error:
            if _is_cancelled():
                raise
            # Somebody closed the connection, which gRPC tells as if whoever waits had been cancelled.
            text = "rpc error: code = Canceled desc = grpc: the client connection is closing"
            raise runtime.RuntimeUnavailable(text) from error

    async def stream(
        self, method: str, request: Any, response_type: Any, metadata: tuple[tuple[str, str], ...] = ()
    ) -> AsyncIterator[Any]:
        """Yields None once the request is sent, then each message; ends or raises when the stream breaks.

        The server may begin to follow a moment after the None: containerd sends no header before the first event.
        """
        stub = self._channel.unary_stream(
            method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=_reader(response_type),
        )
        await self._channel.channel_ready()
        call = stub(request, metadata=metadata)
        try:
            yield None
            async for message in call:
                yield _checked(message)
        except grpc.aio.AioRpcError as error:
            raise_translated(error)
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close(None)
