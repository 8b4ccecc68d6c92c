"""Starting one container: image, environment, mounts, create, start, postStart; every failure has its reason.

Called by the pod worker. Raises ``StartError``, which becomes the container's waiting state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.env.environment import ContainerConfigError, container_environment
from sampan.node.env.expansion import container_command
from sampan.node.images.credentials import pull_secrets
from sampan.node.images.manager import ImageError
from sampan.node.pods import render, security, spec
from sampan.node.pods.context import NodeContext
from sampan.node.pods.planner import Start
from sampan.node.probes.check import Outcome, Target, check
from sampan.node.volumes.errors import VolumeError

#: How long until a failed start is tried again, as the kubelet's pod workers do.
RETRY_SECONDS = 10.0
_HOOK_TIMEOUT_SECONDS = 60.0


class StartError(Exception):
    """``reason`` and the text are the container's waiting state."""

    def __init__(self, reason: str, message: str, retry_after_seconds: float = RETRY_SECONDS) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The pod's sandbox and volumes, ready for containers."""

    pod: Obj
    sandbox: runtime.Sandbox
    sandbox_config: runtime.SandboxConfig
    mounted: Mapping[str, Any]
    target_id: str = ""


def field_path(sort: spec.Sort, name: str) -> str:
    return f"spec.{spec.FIELDS[sort]}{{{name}}}"


async def ensure_image(context: NodeContext, pod: Obj, sort: spec.Sort, container: Obj) -> runtime.Image:
    """Raises ImageError."""

    def report(kind: str, reason: str, message: str) -> None:
        context.recorder.event(pod, kind, reason, message, field_path=field_path(sort, container["name"]))

    secrets = await pull_secrets(pod, context.objects)
    if secrets.missing:
        context.recorder.event(pod, "Warning", "FailedToRetrieveImagePullSecret", secrets.complaint)
    return await context.images.ensure(pod, container, report, secrets)


async def start_container(
    context: NodeContext, around: Surroundings, start: Start, container: Obj, image: asyncio.Future[runtime.Image]
) -> str:
    """Returns the id of the running container. ``image`` is under way since the pod began. Raises StartError."""
    pod = around.pod

    def fail(reason: str, error: Exception, message: str = "") -> StartError:
        text = message or str(error)
        path = field_path(start.sort, start.name)
        context.recorder.event(pod, "Warning", "Failed", f"Error: {text}", field_path=path)
        return StartError(reason, text)

    try:
        present = await image
    except ImageError as error:
        fail(error.reason, error, error.reason)
        raise StartError(error.reason, error.message, error.retry_after_seconds) from error
    try:
        config = await _configure(context, around, start, container, present)
    except (ContainerConfigError, VolumeError, security.ContainerRefused) as error:
        raise fail("CreateContainerConfigError", error) from error
    try:
        container_id = await context.runtime.create_container(around.sandbox.id, config, around.sandbox_config)
    except runtime.RuntimeCallError as error:
        raise fail("CreateContainerError", error, _description(error)) from error
    path = field_path(start.sort, start.name)
    context.recorder.event(pod, "Normal", "Created", f"Created container: {start.name}", field_path=path)
    try:
        await context.runtime.start_container(container_id)
    except runtime.RuntimeCallError as error:
        raise fail("RunContainerError", error, _description(error)) from error
    context.recorder.event(pod, "Normal", "Started", f"Started container {start.name}", field_path=path)
    return container_id


def _description(error: runtime.RuntimeCallError) -> str:
    """What the runtime said, without gRPC's prefix: as the kubelet shows it for containers."""
    text = str(error)
    return text.partition(" desc = ")[2] or text


async def _configure(
    context: NodeContext, around: Surroundings, start: Start, container: Obj, image: runtime.Image
) -> runtime.ContainerConfig:
    pod = around.pod
    security.verify_run_as_non_root(pod, container, image)
    ips = context.config.addresses if spec.is_host_network(pod) else around.sandbox.ips
    paths = {name: volume.host_path for name, volume in around.mounted.items()}
    environment = await container_environment(
        pod, container, context.objects, context.facts(tuple(ips)), context.services(), paths
    )
    for warning in environment.warnings:
        context.recorder.event(pod, "Warning", warning.reason, warning.message)
    mounts = await context.volumes.container_mounts(pod, container, around.mounted, environment.variables)
    mounts = security.resolve_recursive_readonly(container, mounts, context.features().of(around.sandbox.handler))
    mounts += await _own_mounts(context, pod, container, start, {mount.container_path for mount in mounts}, tuple(ips))
    command, args = container_command(container, environment.variables)
    inputs = render.ContainerInputs(
        attempt=start.attempt,
        image=image,
        environment=environment.variables,
        command=command,
        args=args,
        mounts=mounts,
        memory_capacity_bytes=context.memory_capacity_bytes,
        target_id=around.target_id,
        seccomp_root=str(context.config.seccomp_root),
        unified_cgroups=context.unified_cgroups,
    )
    return render.container_config(pod, container, inputs)


async def _own_mounts(
    context: NodeContext, pod: Obj, container: Obj, start: Start, taken: set[str], ips: tuple[str, ...]
) -> list[runtime.Mount]:
    """/etc/hosts, and the file for the termination message."""
    directory = context.config.pod_dir(pod["metadata"]["uid"])
    mounts = []
    if "/etc/hosts" not in taken:
        host_file = context.host.hosts_file() if spec.is_host_network(pod) else None
        hosts = directory / "etc-hosts"
        text = render.render_hosts(pod, ips, context.config, host_file)
        await context.host.write(hosts, text.encode(), 0o644)
        mounts.append(runtime.Mount(str(hosts), "/etc/hosts"))
    path = container.get("terminationMessagePath") or render.DEFAULT_TERMINATION_PATH
    if path not in taken:
        message = termination_file(context, pod, start.name, start.attempt)
        await context.host.write(message, b"", 0o666)
        mounts.append(runtime.Mount(str(message), path))
    return mounts


def termination_file(context: NodeContext, pod: Obj, name: str, attempt: int) -> Path:
    return context.config.pod_dir(pod["metadata"]["uid"]) / "containers" / name / f"{attempt}.message"


async def run_hook(context: NodeContext, handler: Obj, target: Target, timeout_seconds: float | None = None) -> Outcome:
    """A postStart or preStop handler."""
    return await check(handler, target, context.runtime, timeout_seconds or _HOOK_TIMEOUT_SECONDS, "lifecycle")
