"""What goes wrong with volumes, as the person who wrote the pod will read it."""

from __future__ import annotations

from sampan.api.faults import fault


class VolumeError(Exception):
    """One volume cannot be set up: event FailedMount with this text, then try again later."""

    reason = "FailedMount"


class ImageVolumeError(VolumeError):
    """The image of a volume cannot be had: ``reason`` is what the pod's containers wait for. Its Events are told."""

    def __init__(self, reason: str, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class SetupError(Exception):
    """Raised by the modules of the volume types; the manager adds which volume it was."""

    def __init__(self, text: str, step: str = "MountVolume.SetUp") -> None:
        super().__init__(text)
        self.step = step


class TeardownError(OSError):
    """What is to be undone is not, for a reason that is no system's."""

    def __str__(self) -> str:
        return str(self.args[0])


def setup_failed(volume: str, detail: str | Exception) -> VolumeError:
    text = fault(detail) if isinstance(detail, Exception) else detail
    step = detail.step if isinstance(detail, SetupError) else "MountVolume.SetUp"
    return VolumeError(f'{step} failed for volume "{volume}" : {text}')


def teardown_failed(uid: str, error: Exception) -> VolumeError:
    text = str(error) if isinstance(error, TeardownError) else fault(error, "remove")
    return VolumeError(f'UnmountVolume.TearDown failed for pod "{uid}" : {text}')
