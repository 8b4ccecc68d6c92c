"""Reads what device plug-ins answer for a container: variables, mounts, device files and annotations. Pure."""

from __future__ import annotations

from sampan.node import runtime
from sampan.node.devices.interface import Given
from sampan.node.devices.pb import deviceplugin_pb2 as pb


def given(encoded: bytes) -> Given:
    """What a ContainerAllocateResponse asks for, but for the devices that it gives by their CDI names."""
    answer = pb.ContainerAllocateResponse.FromString(encoded)
    return Given(
        environment=dict(answer.envs),
        mounts=tuple(
            runtime.Mount(mount.host_path, mount.container_path, readonly=mount.read_only) for mount in answer.mounts
        ),
        devices=tuple(
            runtime.Device(device.host_path, device.container_path, device.permissions) for device in answer.devices
        ),
        annotations=dict(answer.annotations),
    )


def cdi_names(encoded: bytes) -> list[str]:
    """The devices that it gives by their qualified names."""
    return [device.name for device in pb.ContainerAllocateResponse.FromString(encoded).cdi_devices]
