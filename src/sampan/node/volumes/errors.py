"""What goes wrong with volumes, as the person who wrote the pod will read it."""

from __future__ import annotations

from sampan.api.faults import fault


class VolumeError(Exception):
    """One volume cannot be set up: event FailedMount with this text, then try again later."""

    reason = "FailedMount"


class SetupError(Exception):
    """Raised by the modules of the volume types; the manager adds which volume it was."""


def setup_failed(volume: str, detail: str | Exception) -> VolumeError:
    text = fault(detail) if isinstance(detail, Exception) else detail
    return VolumeError(f'MountVolume.SetUp failed for volume "{volume}" : {text}')
