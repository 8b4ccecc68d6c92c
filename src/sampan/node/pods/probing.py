"""The repeated probes of one pod: one task a probe, results as sets of container ids.

Owned by the pod's worker, which calls ``sync`` after each change and reads the sets; a changed result calls
``changed``. Readiness and liveness wait until startup has passed. Periods run on the loop's clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container
from typing import Literal

from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node import runtime
from sampan.node.pods import spec
from sampan.node.pods.events import NOT_PROBED, Probed
from sampan.node.pods.record import NONE, without
from sampan.node.pods.state import PodState
from sampan.node.probes.check import Outcome, Target, check

log = logging.getLogger(__name__)

ProbeKind = Literal["startup", "readiness", "liveness"]
_FIELDS: dict[ProbeKind, str] = {
    "startup": "startupProbe",
    "readiness": "readinessProbe",
    "liveness": "livenessProbe",
}
#: A container that just started is asked again soon: most are ready long before their first period is over.
_FIRST_RETRY_SECONDS = 0.02

Report = Callable[[Obj, str, str, str], None]  # (container, type, reason, message)


class PodProbes:
    """Invariant: tasks exist exactly for probes of running containers (since the last ``sync``). Sets are replaced,
    never changed, as in ``record``."""

    __slots__ = (
        "_changed", "_group", "_passed", "_quiet", "_report", "_runtime", "_tasks", "failed_liveness", "failed_startup",
        "ready", "started",
    )  # fmt: skip

    def __init__(
        self, group: asyncio.TaskGroup, source: runtime.Runtime, changed: Callable[[], None], report: Report
    ) -> None:
        self._group = group
        self._runtime = source
        self._changed = changed
        self._report = report
        self._tasks: dict[tuple[str, ProbeKind], asyncio.Task[None]] = {}
        self._passed: frozenset[tuple[str, ProbeKind]] = NONE
        self._quiet: frozenset[str] = NONE
        self.started: frozenset[str] = NONE
        self.ready: frozenset[str] = NONE
        self.failed_liveness: frozenset[str] = NONE
        self.failed_startup: frozenset[str] = NONE

    def sync(
        self,
        pod: Obj,
        state: PodState,
        pod_ip: str,
        *,
        held: frozenset[str] = frozenset(),
        stopping: frozenset[str] = frozenset(),
        ending: bool = False,
    ) -> None:
        """Starts and stops probe tasks. ``held``: containers whose postStart hook still runs. ``stopping``: those on
        their way to their end. ``ending``: the whole pod is. What is ending is asked for readiness alone, and what it
        answers is no news."""
        running = {item.id: item for item in state.running() if item.id not in held}
        self._quiet = frozenset(running) if ending else stopping
        for key in [key for key in self._tasks if not self._is_asked(key, running)]:
            self._tasks.pop(key).cancel()
        for name in ("started", "ready", "failed_liveness", "failed_startup"):
            known: frozenset[str] = getattr(self, name)
            if any(each not in running for each in known):
                setattr(self, name, frozenset(each for each in known if each in running) or NONE)
        if any(key[0] not in running for key in self._passed):
            self._passed = frozenset(key for key in self._passed if key[0] in running) or NONE
        for container_id, item in running.items():
            found = spec.find_container(pod, item.name)
            if found is None:
                continue
            target = Target(container_id, found[1], pod_ip)
            if container_id not in self.started and not found[1].get("startupProbe"):
                self.started |= {container_id}
            for kind, field in _FIELDS.items():
                if found[1].get(field) and self._is_asked((container_id, kind), running):
                    self._ensure(target, kind, found[1][field])
            if container_id in self.started - self.ready and not found[1].get("readinessProbe"):
                self.ready |= {container_id}
        if self.ready == self.started:
            self.ready = self.started

    def _is_asked(self, key: tuple[str, ProbeKind], running: Container[str]) -> bool:
        return key[0] in running and (key[1] == "readiness" or key[0] not in self._quiet)

    def adopt(self, container_ids: set[str]) -> None:
        """Containers that were ready before this agent started keep being so until a probe says otherwise."""
        self.ready |= container_ids
        self.started |= container_ids

    def results(self) -> Probed:
        if not (self.started or self.ready or self.failed_liveness or self.failed_startup):
            return NOT_PROBED
        return Probed(self.ready, self.started, self.failed_liveness, self.failed_startup)

    def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _ensure(self, target: Target, kind: ProbeKind, probe: Obj) -> None:
        key = (target.container_id, kind)
        if key in self._tasks:
            return
        if kind == "startup" and target.container_id in self.started:
            return
        if kind != "startup" and target.container_id not in self.started:
            return
        name = f"{kind} {target.container['name']}"
        self._tasks[key] = tasks.spawn(self._group, self._repeat(target, kind, probe), name)

    async def _repeat(self, target: Target, kind: ProbeKind, probe: Obj) -> None:
        period = float(probe.get("periodSeconds") or 10)
        timeout = float(probe.get("timeoutSeconds") or 1)
        threshold = {
            "success": int(probe.get("successThreshold") or 1),
            "failure": int(probe.get("failureThreshold") or 3),
        }
        await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
        last, run, quick = "", 0, _FIRST_RETRY_SECONDS
        while True:
            outcome = await self._check(probe, target, timeout)
            early = (
                kind != "liveness" and quick < period and outcome.result != "success" and not self._had(target, kind)
            )
            if outcome.result != "success" and not early and target.container_id not in self._quiet:
                verb = "failed" if outcome.result == "failure" else "errored and resulted in unknown state"
                text = f"{kind.capitalize()} probe {verb}: {outcome.output}"
                self._report(target.container, "Warning", "Unhealthy", text)
            if outcome.warning:
                text = f"{kind.capitalize()} probe warning: {outcome.output}"
                self._report(target.container, "Warning", "ProbeWarning", text)
            if outcome.result != "unknown" and not early:
                run = run + 1 if outcome.result == last else 1
                last = outcome.result
                if run >= threshold[outcome.result]:
                    self._settle(target.container_id, kind, passed=outcome.result == "success")
                    if kind == "startup":
                        return
            if early:
                await asyncio.sleep(quick)
                quick *= 2
            else:
                await asyncio.sleep(period)

    async def _check(self, probe: Obj, target: Target, timeout: float) -> Outcome:
        try:
            return await check(probe, target, self._runtime, timeout)
        except Exception:
            # A fault of ours: this probe does not know, and nobody else is held up.
            log.exception("probe of container %s", target.container["name"])
            return Outcome("unknown", "internal error")

    def _had(self, target: Target, kind: ProbeKind) -> bool:
        return (target.container_id, kind) in self._passed

    def _settle(self, container_id: str, kind: ProbeKind, *, passed: bool) -> None:
        if passed:
            self._passed |= {(container_id, kind)}
        before = (self.ready, self.started, self.failed_liveness, self.failed_startup)
        if kind == "readiness":
            self.ready = self.ready | {container_id} if passed else without(self.ready, container_id)
        elif kind == "startup" and passed:
            self.started |= {container_id}
        elif kind == "startup":
            self.failed_startup |= {container_id}
        elif not passed:
            self.failed_liveness |= {container_id}
        if before != (self.ready, self.started, self.failed_liveness, self.failed_startup):
            self._changed()
