"""Sends one pod's status: always the newest, one request at a time, as a patch of what changed.

Owned by the pod worker. Knows what the API server has from the informer and from the answers to its own patches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.resources import PODS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.keys import revision_of
from sampan.node.pods.status import plan_status_patch

log = logging.getLogger(__name__)

_RETRY_SECONDS = (0.1, 0.5, 1.0, 5.0, 10.0)


class StatusSender:
    """Invariant: ``idle`` says that the API server has the status last wanted, or that the pod is gone."""

    __slots__ = (
        "_client", "_due", "_group", "_name", "_namespace", "_revision", "_sent", "_serial", "_shown", "_static",
        "_task", "_uid", "_wanted", "gone", "idle", "present",
    )  # fmt: skip

    def __init__(
        self, client: Client, pod: Obj, sent: Callable[[int], None] = lambda serial: None, *, static: bool = False
    ) -> None:
        """``sent`` is told the serial of every wanted status that the API server has and that no newer one follows.
        ``static``: the pod is not the API server's; its status goes to the mirror that ``follow`` names."""
        self._client = client
        self._shown_by(pod)
        self._revision = revision_of(pod)
        self._sent = sent
        self._shown = not static
        self._static = static
        self.present: Obj = pod.get("status") or {}
        self._wanted: Obj | None = None
        self._serial = 0
        #: there is something to send
        self._due = False
        self._group: asyncio.TaskGroup | None = None
        #: as long as something is sent: a pod that rests has no task for it
        self._task: asyncio.Task[None] | None = None
        self.idle = True
        self.gone = False

    @property
    def newest(self) -> Obj:
        """The status as the agent knows it, sent or not."""
        return self._wanted if self._wanted is not None and not self.idle else self.present

    def observe(self, pod: Obj) -> None:
        """A newer state of the pod from the API."""
        revision = revision_of(pod)
        if revision > self._revision:
            self._revision = revision
            self.present = pod.get("status") or {}

    def follow(self, mirror: Obj | None) -> None:
        """The object that shows a static pod from now on; None: there is none at the moment, and the status waits."""
        self._shown = mirror is not None
        if mirror is None:
            return
        if mirror["metadata"]["uid"] == self._uid:
            self.observe(mirror)
            return
        self._shown_by(mirror)
        self._revision, self.present = revision_of(mirror), mirror.get("status") or {}
        if self._wanted is not None:
            self.idle = False
            self._rouse()

    def _shown_by(self, pod: Obj) -> None:
        meta = pod["metadata"]
        self._name, self._namespace, self._uid = meta["name"], meta["namespace"], meta["uid"]

    def want(self, status: Obj, serial: int = 0) -> None:
        self._serial = serial
        if self.idle and self._shown and not plan_status_patch(self.present, status):
            self._sent(serial)
            return
        self._wanted = status
        self.idle = False
        self._rouse()

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Sends from now on, by a task of this group."""
        self._group = group
        if self._due:
            self._rouse()

    def end(self) -> None:
        self._group = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _rouse(self) -> None:
        self._due = True
        if self._task is None and self._group is not None:
            self._task = tasks.spawn(self._group, self._send_all(), "status")

    async def _send_all(self) -> None:
        try:
            await self._send_until_idle()
        finally:
            self._task = None

    async def _send_until_idle(self) -> None:
        failures = 0
        while self._due:
            self._due = False
            try:
                await self._send()
                failures = 0
                continue
            except (ApiError, OSError, TimeoutError) as error:
                log.warning("status of pod %s/%s: %s", self._namespace, self._name, error)
            except Exception:
                # A fault of ours: this status is late, and nothing else.
                log.exception("status of pod %s/%s", self._namespace, self._name)
            await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
            failures += 1
            self._due = True

    async def _send(self) -> None:
        if not self._shown:
            return
        wanted = self._wanted
        patch = plan_status_patch(self.present, wanted) if wanted is not None else {}
        if patch and not self.gone:
            body = {"metadata": {"uid": self._uid}, "status": patch}
            try:
                answer = await self._client.patch(
                    PODS, self._name, body, self._namespace,
                    patch_type="strategic", subresource="status", shared=True,
                )  # fmt: skip
                self.observe(answer)
            except (NotFound, Conflict):
                # Deleted, perhaps replaced by a pod of the same name and another uid: nothing left to tell.
                if self._static:
                    self._shown = False  # until its next mirror
                    return
                self.gone = True
        if self._wanted is wanted:
            self.idle = True
            if not self._static:
                self._wanted = None  # the API server has it; a static pod may get another mirror
            self._sent(self._serial)
