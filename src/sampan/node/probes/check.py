"""One check of a container: exec, httpGet, tcpSocket or grpc. Also runs the same actions for lifecycle hooks.

Returns an outcome, never raises for a failing target; the texts are the kubelet's. Durations on the loop's clock.
"""

from __future__ import annotations

import asyncio

from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.probes import http_get, names
from sampan.node.probes.outcome import OUTPUT_LIMIT_BYTES, Outcome, PortError, Purpose, Target, resolve_port, url_host

__all__ = ["Outcome", "Target", "check"]


async def check(
    action: Obj, target: Target, source: runtime.Runtime, timeout_seconds: float, purpose: Purpose = "probe"
) -> Outcome:
    """``action`` is a Probe or a LifecycleHandler."""
    try:
        if "exec" in action:
            return await _exec(action["exec"], target, source, timeout_seconds)
        if "httpGet" in action:
            return await http_get.get(action["httpGet"], target, purpose, timeout_seconds)
        if "tcpSocket" in action:
            return await _tcp(action["tcpSocket"], target, timeout_seconds)
        if "grpc" in action:
            return await _grpc(action["grpc"], target, timeout_seconds)
        if "sleep" in action:
            await asyncio.sleep(float(action["sleep"]["seconds"]))
            return Outcome("success")
    except PortError as error:
        return Outcome("unknown", str(error))
    return Outcome("unknown", "missing probe handler")


async def _exec(action: Obj, target: Target, source: runtime.Runtime, timeout_seconds: float) -> Outcome:
    command = action.get("command") or []
    try:
        result = await source.exec_sync(target.container_id, command, int(timeout_seconds))
    except runtime.RuntimeDeadline:
        return Outcome("failure", f'command timed out: "{" ".join(command)}" timed out after {timeout_seconds:g}s')
    except runtime.RuntimeCallError as error:
        return Outcome("unknown", str(error))
    stdout, stderr = result.stdout[:OUTPUT_LIMIT_BYTES], result.stderr[:OUTPUT_LIMIT_BYTES]
    output = (stdout + stderr)[:OUTPUT_LIMIT_BYTES].decode(errors="replace")
    return Outcome("success" if result.exit_code == 0 else "failure", output)


async def _tcp(action: Obj, target: Target, timeout_seconds: float) -> Outcome:
    host = action.get("host") or target.pod_ip
    port = resolve_port(target.container, action["port"])
    try:
        async with asyncio.timeout(timeout_seconds):
            writer = await _connect(host, port)
    except TimeoutError:
        return Outcome("failure", f"dial tcp {url_host(host)}:{port}: i/o timeout")
    except OSError as error:
        return Outcome("failure", http_get.dial_error(host, port, error))
    writer.close()
    return Outcome("success")


async def _connect(host: str, port: int) -> asyncio.StreamWriter:
    """To the first address that takes it. Raises OSError."""
    fault = OSError("no address")
    for _, address in await names.addresses(host, port):
        try:
            return (await asyncio.open_connection(address, port))[1]
        except OSError as error:
            fault = error
    raise fault


async def _grpc(action: Obj, target: Target, timeout_seconds: float) -> Outcome:
    from sampan.node.probes import health  # gRPC is heavy: only when a pod asks for it

    return await health.check(target.pod_ip, int(action["port"]), action.get("service") or "", timeout_seconds)
