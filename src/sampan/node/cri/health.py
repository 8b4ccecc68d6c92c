"""The gRPC health check of probes; here because only this package speaks gRPC."""

from __future__ import annotations

import grpc
import grpc.aio

from sampan.node.cri.pb import health_pb2 as pb
from sampan.node.pods.render import url_host
from sampan.node.probes.check import Outcome


async def check(address: str, port: int, service: str, timeout_seconds: float) -> Outcome:
    target = f"{url_host(address)}:{port}"
    options = [("grpc.primary_user_agent", "kube-probe/1.37"), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=pb.HealthCheckRequest.SerializeToString,
            response_deserializer=pb.HealthCheckResponse.FromString,
        )
        try:
            answer = await call(pb.HealthCheckRequest(service=service), timeout=timeout_seconds)
        except grpc.aio.AioRpcError as error:
            return Outcome("failure", _failure(error, target, timeout_seconds))
    if answer.status == pb.HealthCheckResponse.SERVING:
        return Outcome("success", "service healthy")
    name = pb.HealthCheckResponse.ServingStatus.Name(answer.status)
    return Outcome("failure", f'service unhealthy (responded with "{name}")')


def _failure(error: grpc.aio.AioRpcError, target: str, timeout_seconds: float) -> str:
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return (
            f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {error.details()}"
        )
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"timeout: health rpc did not complete within {timeout_seconds:g}s"
    return f'error: health rpc failed for "{target}": {error.details()}'
