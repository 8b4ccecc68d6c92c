"""Every call of the interface that Sampan speaks: its path, its request and its answer. Used by client and server."""

from __future__ import annotations

from typing import Any

from sampan.csi.pb import csi_pb2 as csi
from sampan.csi.pb import pluginregistration_pb2 as registration


def _of(service: str, *names: str) -> dict[str, tuple[Any, Any]]:
    return {
        f"/csi.v1.{service}/{name}": (getattr(csi, f"{name}Request"), getattr(csi, f"{name}Response")) for name in names
    }


IDENTITY = _of("Identity", "GetPluginInfo", "GetPluginCapabilities", "Probe")
CONTROLLER = _of(
    "Controller",
    *("CreateVolume", "DeleteVolume", "ControllerPublishVolume", "ControllerUnpublishVolume"),
    *("ValidateVolumeCapabilities", "ListVolumes", "GetCapacity", "ControllerGetCapabilities"),
    *("CreateSnapshot", "DeleteSnapshot", "ListSnapshots", "GetSnapshot"),
    *("ControllerExpandVolume", "ControllerGetVolume", "ControllerModifyVolume"),
)
NODE = _of(
    "Node",
    *("NodeStageVolume", "NodeUnstageVolume", "NodePublishVolume", "NodeUnpublishVolume"),
    *("NodeGetVolumeStats", "NodeExpandVolume", "NodeGetCapabilities", "NodeGetInfo"),
)
REGISTRATION: dict[str, tuple[Any, Any]] = {
    "/pluginregistration.Registration/GetInfo": (registration.InfoRequest, registration.PluginInfo),
    "/pluginregistration.Registration/NotifyRegistrationStatus": (
        registration.RegistrationStatus,
        registration.RegistrationStatusResponse,
    ),
}

METHODS = IDENTITY | CONTROLLER | NODE | REGISTRATION
