"""Where static pods are worked on: the agent's workers, the mirrors among the pods of the API, the node.

Used by ``keeper`` alone; made by the agent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from sampan.api.pods.origin import MIRROR_ANNOTATION, is_mirror
from sampan.api.types import Obj


class Worker(Protocol):
    """The part of ``sampan.node.pods.worker.PodWorker`` that is used."""

    pod: Obj
    gone: bool

    def mirrored(self, mirror: Obj | None) -> None: ...
    def deleted(self, pod: Obj) -> None: ...


class Pods(Protocol):
    """The API's pods of this node."""

    @property
    def has_synced(self) -> bool: ...
    def get(self, namespace: str, name: str) -> Obj | None: ...
    def list(self, namespace: str | None = None) -> Sequence[Obj]: ...


class Node(Protocol):
    @property
    def uid(self) -> str: ...
    def tell(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


class Workplace:
    def __init__(
        self,
        workers: Mapping[str, Worker],
        pods: Pods,
        node: Node,
        begin: Callable[[Literal["ADDED"], Obj, None], None],
    ) -> None:
        """``begin`` has the node take a pod, or refuse it."""
        self._workers, self._pods, self.node, self._begin = workers, pods, node, begin
        #: static pods of which something is here, by uid
        self.working: dict[str, Obj] = {}

    def begin(self, pod: Obj) -> None:
        self.working[pod["metadata"]["uid"]] = pod
        self._begin("ADDED", pod, None)

    def end(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is None:
            self.working.pop(uid, None)
        elif not worker.gone:
            worker.deleted(worker.pod)

    def mirrors(self) -> list[Obj]:
        return [pod for pod in self._pods.list() if is_mirror(pod)] if self._pods.has_synced else []

    def mirror_changed(self, mirror: Obj, *, gone: bool) -> None:
        for uid, pod in self.working.items():
            if (worker := self._workers.get(uid)) is not None and _shows(mirror, pod):
                worker.mirrored(None if gone else mirror)

    def mirror_of(self, pod: Obj) -> Obj | None:
        meta = pod["metadata"]
        found = self._pods.get(meta["namespace"], meta["name"])
        return found if found is not None and _shows(found, pod) else None


def _shows(mirror: Obj, pod: Obj) -> bool:
    """Whether the mirror is that of the static pod, which its hash names."""
    meta, shown = pod["metadata"], mirror["metadata"]
    if (meta["namespace"], meta["name"]) != (shown["namespace"], shown["name"]):
        return False
    return bool((shown.get("annotations") or {}).get(MIRROR_ANNOTATION) == meta["uid"])
