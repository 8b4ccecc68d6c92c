"""The gRPC health check of probes."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from sampan.node.cri.pb import health_pb2 as pb
from sampan.node.probes.outcome import Outcome, url_host

_OPTIONS = [
    ("grpc.primary_user_agent", "kube-probe/1.37"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", 64 << 10),
]


async def check(address: str, port: int, service: str, timeout_seconds: float) -> Outcome:
    target = f"{url_host(address)}:{port}"
    took = f"{timeout_seconds:g}s"
    async with grpc.aio.insecure_channel(target, options=_OPTIONS) as channel:
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=pb.HealthCheckRequest.SerializeToString,
            response_deserializer=pb.HealthCheckResponse.FromString,
        )
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        try:
            async with asyncio.timeout_at(deadline):
                await channel.channel_ready()
        except TimeoutError:
            text = f'timeout: failed to connect service "{target}" within {took}: context deadline exceeded'
            return Outcome("failure", text)
        try:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            answer = await call(pb.HealthCheckRequest(service=service), timeout=left)
        except grpc.aio.AioRpcError as error:
            return Outcome("failure", _failure(error, took))
    if answer.status == pb.HealthCheckResponse.SERVING:
        return Outcome("success", "service healthy")
    return Outcome("failure", f'service unhealthy (responded with "{_status_name(answer.status)}")')


def _status_name(number: int) -> str:
    try:
        return str(pb.HealthCheckResponse.ServingStatus.Name(number))
    except ValueError:
        return str(number)  # a status of a later version


def _failure(error: grpc.aio.AioRpcError, took: str) -> str:
    code, details = error.code(), error.details()
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {details}"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"timeout: health rpc did not complete within {took}"
    name = "".join(part.capitalize() for part in code.name.split("_"))
    return f"error: health rpc probe failed: rpc error: code = {name} desc = {details}"
