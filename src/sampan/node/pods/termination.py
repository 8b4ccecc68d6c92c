"""Ending a pod's containers: preStop, then the signal, within one grace period; sidecars after the others.

Called by the pod worker, which may call again with a shorter grace: every step is idempotent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.pods import security, spec
from sampan.node.pods.context import NodeContext
from sampan.node.pods.starting import field_path, run_hook
from sampan.node.pods.state import PodState
from sampan.node.probes.check import Target

_MINIMUM_STOP_SECONDS = 2


async def kill_container(
    context: NodeContext,
    pod: Obj,
    container: runtime.Container,
    *,
    pod_ip: str,
    grace_seconds: int,
    message: str = "",
    hook: bool = True,
) -> None:
    """Returns when it has ended. Raises RuntimeCallError."""
    found = spec.find_container(pod, container.name)
    sort: spec.Sort = found[0] if found else "main"
    path = field_path(sort, container.name)
    context.recorder.event(pod, "Normal", "Killing", message or f"Stopping container {container.name}", field_path=path)
    handler = ((found[1].get("lifecycle") or {}).get("preStop") or {}) if found and hook else {}
    loop = asyncio.get_running_loop()
    began = loop.time()
    if handler and found and grace_seconds > 0:
        target = Target(container.id, found[1], pod_ip)
        try:
            async with asyncio.timeout(grace_seconds):
                outcome = await run_hook(context, handler, target, grace_seconds)
            if outcome.result != "success":
                context.recorder.event(
                    pod, "Warning", "FailedPreStopHook", f"PreStopHook failed: {outcome.output}", field_path=path
                )
        except TimeoutError:
            context.recorder.event(
                pod, "Warning", "FailedPreStopHook", "PreStopHook did not complete within the grace period",
                field_path=path,
            )  # fmt: skip
    left = grace_seconds - int(loop.time() - began)
    if handler:
        left = max(left, _MINIMUM_STOP_SECONDS)
    signal = security.stop_signal(found[1]) if found else ""
    await context.runtime.stop_container(container.id, max(left, 0), signal)


async def kill_all(context: NodeContext, pod: Obj, state: PodState, grace_seconds: int, *, announced: bool) -> None:
    """Main containers together, then sidecars one by one in reverse order with what is left of the grace.

    ``announced``: an earlier call told of the killing and ran the hooks.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace_seconds
    sandbox = state.latest_sandbox
    pod_ip = sandbox.ips[0] if sandbox and sandbox.ips else context.config.host_ip
    sidecars = [item["name"] for item in spec.containers(pod, "init") if spec.is_sidecar("init", item)]
    running = state.running()

    async def kill(group: Sequence[runtime.Container], minimum: int = 0) -> None:
        left = max(int(deadline - loop.time() + 0.5), minimum)
        async with asyncio.TaskGroup() as tasks:
            for item in group:
                tasks.create_task(
                    kill_container(context, pod, item, pod_ip=pod_ip, grace_seconds=left, hook=not announced),
                    name=f"kill {item.name}",
                )

    await kill([item for item in running if item.name not in sidecars])
    # However long the main containers took, a sidecar hears the signal before it is killed.
    minimum = _MINIMUM_STOP_SECONDS if grace_seconds > 0 else 0
    for name in reversed(sidecars):
        await kill([item for item in running if item.name == name], minimum)
