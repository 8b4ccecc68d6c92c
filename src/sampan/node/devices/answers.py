"""Reads what device plug-ins answer for a container: variables, mounts, device files and annotations. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.node import runtime
from sampan.node.devices.interface import Given
from sampan.node.devices.pb import deviceplugin_pb2 as pb


def given(answers: Iterable[bytes]) -> Given:
    """The plug-ins' answers (ContainerAllocateResponse) for one container together; of two that name one thing the
    first counts. Raises ValueError: what an answer asks cannot be given."""
    environment: dict[str, str] = {}
    annotations: dict[str, str] = {}
    mounts: dict[str, runtime.Mount] = {}
    devices: dict[str, runtime.Device] = {}
    for encoded in answers:
        answer = pb.ContainerAllocateResponse.FromString(encoded)
        if answer.cdi_devices:
            names = ", ".join(device.name for device in answer.cdi_devices)
            raise ValueError(f"CDI devices are not passed on to the runtime: {names}")
        environment = {**answer.envs, **environment}
        annotations = {**answer.annotations, **annotations}
        for mount in answer.mounts:
            made = runtime.Mount(mount.host_path, mount.container_path, readonly=mount.read_only)
            mounts.setdefault(mount.container_path, made)
        for device in answer.devices:
            spec = runtime.Device(device.host_path, device.container_path, device.permissions)
            devices.setdefault(device.container_path, spec)
    return Given(
        environment=environment,
        mounts=tuple(mounts.values()),
        devices=tuple(devices.values()),
        annotations=annotations,
    )
