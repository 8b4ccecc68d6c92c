"""The Events of one pod, on their way to the recorder: kept back while the pod is being started.

An Event costs the API server as much as a status does; what a start is worth is told when it is done. Owned by the
pod's worker.
"""

from __future__ import annotations

from typing import Literal

from sampan.api.types import Obj
from sampan.node.pods import spec
from sampan.node.pods.context import Recorder

_HELD_LIMIT = 64


class PodTeller:
    """Invariant: Events leave in the order in which they were told."""

    def __init__(self, recorder: Recorder, pod: Obj) -> None:
        self._recorder = recorder
        self._held: list[tuple[Literal["Normal", "Warning"], str, str, str]] = []
        self._holding = True  # until the worker says that there is news
        self.pod = pod

    def tell(self, kind: Literal["Normal", "Warning"], reason: str, message: str, container: str = "") -> None:
        """About the pod, or one of its containers."""
        self._held.append((kind, reason, message, container))
        if not self._holding or kind == "Warning" or len(self._held) > _HELD_LIMIT:
            self._flush()

    def hold(self) -> None:
        self._holding = True

    def release(self) -> None:
        self._holding = False
        self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, []
        for kind, reason, message, container in held:
            found = spec.find_container(self.pod, container) if container else None
            path = spec.field_path(found[0], container) if found else ""
            self._recorder.event(self.pod, kind, reason, message, field_path=path)
