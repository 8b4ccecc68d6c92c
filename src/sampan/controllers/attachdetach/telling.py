"""Tells pods what became of their volume: each outcome once, and nothing that was so when this process began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sampan.api import objects
from sampan.api.reading import part, text
from sampan.api.storage import attachments
from sampan.api.types import Obj
from sampan.client.events import EventRecorder
from sampan.controllers.attachdetach.plan import refusal
from sampan.records import dataclass

#: after which an attacher that says nothing is told of
SILENT_SECONDS: Final = 120.0
_SUCCESS: Final = "SuccessfulAttachVolume"


@dataclass(slots=True)
class _Seen:
    """An attachment that was not attached. ``told``: the error that pods know."""

    since: float
    told: str = ""


class Outcomes:
    """Invariant: ``_seen`` and ``_refused`` hold nothing of an attachment, or of a wish, that was gone at the volume's
    last look."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder
        #: by volume, then by UID
        self._seen: dict[str, dict[str, _Seen]] = {}
        #: by volume, the nodes whose pods were told that another node has it
        self._refused: dict[str, set[str]] = {}

    def tell(
        self, name: str, volume: Obj | None, present: Iterable[Obj], pods: Mapping[str, Sequence[Obj]], now: float
    ) -> float | None:
        """``pods``: by node. Returns after how many seconds there may be more to tell."""
        before, after = self._seen.pop(name, {}), dict[str, _Seen]()
        for each in present:
            uid, here = objects.uid(each), pods.get(attachments.node_of(each), ())
            seen = before.get(uid)
            if attachments.is_attached(each):
                if seen is not None:
                    text_ = f'AttachVolume.Attach succeeded for volume "{name}" '
                    self._tell_all(here, _SUCCESS, text_)
                continue
            seen = after[uid] = seen or _Seen(now)
            error = attachments.attach_error(each) or _silence(volume, now - seen.since)
            if error and error != seen.told:
                text_ = f'AttachVolume.Attach failed for volume "{name}" : {error}'
                self._tell_all(here, "FailedAttachVolume", text_)
            seen.told = error
        if after:
            self._seen[name] = after
        waits = [SILENT_SECONDS - (now - each.since) for each in after.values() if not each.told]
        return max(min(waits), 1.0) if waits else None

    def begun(self, name: str, attachment: Obj, now: float) -> None:
        """It was asked for just now: a fast attacher may have done it before the next look."""
        self._seen.setdefault(name, {})[objects.uid(attachment)] = _Seen(now)

    def refuse(self, name: str, pods: Mapping[str, Sequence[Obj]], refused: Mapping[str, Sequence[str]]) -> None:
        """``refused``: by node, the nodes that have the volume."""
        before = self._refused.pop(name, set())
        if refused:
            self._refused[name] = set(refused)
        for node in sorted(refused.keys() - before):
            holders = [pod for other in refused[node] for pod in pods.get(other, ())]
            for pod in pods[node]:
                self._recorder.event(pod, "Warning", "FailedAttachVolume", refusal(name, pod, holders))

    def _tell_all(self, pods: Iterable[Obj], reason: str, message: str) -> None:
        for pod in pods:
            self._recorder.event(pod, "Normal" if reason == _SUCCESS else "Warning", reason, message)


def _silence(volume: Obj | None, seconds: float) -> str:
    if seconds < SILENT_SECONDS or volume is None:
        return ""
    source = part(part(volume, "spec"), "csi")
    return (
        f"timed out waiting for external-attacher of {text(source, 'driver')} CSI driver"
        f" to attach volume {text(source, 'volumeHandle')}"
    )
