"""Starting one container: environment, mounts, create, start; every failure has its reason.

Called by ``actions``. Raises ``StartError``, which becomes the container's waiting state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.devices.interface import Given
from sampan.node.env.environment import ContainerConfigError, container_environment
from sampan.node.env.expansion import container_command
from sampan.node.pods import render, security, spec
from sampan.node.pods.context import NetworkUnready, NodeContext
from sampan.node.pods.files import PodFiles
from sampan.node.pods.operations import StartContainer
from sampan.node.pods.teller import PodTeller
from sampan.node.volumes.errors import VolumeError
from sampan.node.volumes.manager import plan_devices
from sampan.records import dataclass


class StartError(Exception):
    """``reason`` and the text are the container's waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class DevicesMissing(Exception):
    """A device plug-in asks for what a container cannot have, or could not make its devices ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The pod's sandbox, volumes and files, ready for containers."""

    pod: Obj
    files: PodFiles
    teller: PodTeller
    sandbox: runtime.Sandbox
    sandbox_config: runtime.SandboxConfig
    mounted: Mapping[str, Any]
    target_id: str = ""


async def start_container(
    context: NodeContext, around: Surroundings, start: StartContainer, container: Obj, image: runtime.Image
) -> str:
    """Returns the id of the running container. Raises StartError."""
    name, tell = start.subject, around.teller.tell

    def fail(reason: str, error: Exception, message: str = "") -> StartError:
        text = message or str(error)
        tell("Warning", "Failed", f"Error: {text}", name)
        return StartError(reason, text)

    try:
        config = await _configure(context, around, start, container, image)
        if not spec.is_host_network(around.pod):
            await context.network_ready(around.pod, tuple(around.sandbox.ips))
    except (ContainerConfigError, VolumeError, security.ContainerRefused, DevicesMissing, NetworkUnready) as error:
        raise fail("CreateContainerConfigError", error) from error
    try:
        container_id = await context.runtime.create_container(around.sandbox.id, config, around.sandbox_config)
    except runtime.RuntimeCallError as error:
        raise fail("CreateContainerError", error, _description(error)) from error
    tell("Normal", "Created", f"Created container: {name}", name)
    try:
        await context.runtime.start_container(container_id)
    except runtime.RuntimeCallError as error:
        raise fail("RunContainerError", error, _description(error)) from error
    tell("Normal", "Started", f"Started container {name}", name)
    return container_id


def _description(error: runtime.RuntimeCallError) -> str:
    """What the runtime said, without gRPC's prefix: as the kubelet shows it for containers."""
    text = str(error)
    return text.partition(" desc = ")[2] or text


async def _configure(
    context: NodeContext, around: Surroundings, start: StartContainer, container: Obj, image: runtime.Image
) -> runtime.ContainerConfig:
    pod = around.pod
    security.verify_run_as_non_root(pod, container, image)
    ips = context.config.addresses if spec.is_host_network(pod) else around.sandbox.ips
    paths = {name: volume.host_path for name, volume in around.mounted.items()}
    environment = await container_environment(
        pod, container, context.objects, context.facts(tuple(ips)), context.services(), paths
    )
    given = await _devices(context, pod, container)
    for warning in environment.warnings:
        around.teller.tell("Warning", warning.reason, warning.message)
    mounts = await context.volumes.container_mounts(pod, container, around.mounted, environment.variables)
    mounts += given.mounts
    mounts = security.resolve_recursive_readonly(container, mounts, context.features().of(around.sandbox.handler))
    taken = {mount.container_path for mount in mounts}
    mounts += await around.files.prepare_container(pod, container, start.attempt, taken, tuple(ips))
    command, args = container_command(container, environment.variables)
    inputs = render.ContainerInputs(
        attempt=start.attempt,
        image=image,
        # What the pod says of a variable counts.
        environment={**given.environment, **environment.variables},
        annotations=given.annotations,
        devices=(*given.devices, *plan_devices(container, around.mounted)),
        command=command,
        args=args,
        mounts=mounts,
        memory_capacity_bytes=context.memory_capacity_bytes,
        target_id=around.target_id,
        seccomp_root=str(context.config.seccomp_root),
        unified_cgroups=context.unified_cgroups,
        swap=context.swap,
        cpus=context.cpus(pod["metadata"]["uid"], container["name"]),
        page_sizes=context.page_sizes,
        memory_nodes=context.memory_nodes(pod["metadata"]["uid"], container["name"]),
    )
    return render.container_config(pod, container, inputs)


async def _devices(context: NodeContext, pod: Obj, container: Obj) -> Given:
    try:
        return await context.devices.container(pod, container)
    except ValueError as error:
        raise DevicesMissing(str(error)) from error
