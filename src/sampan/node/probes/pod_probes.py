"""The repeated probes of one pod: one task a probe, results as sets of container ids.

Owned by the pod worker, which calls ``sync`` after each change and reads the sets; a changed result calls ``changed``.
Readiness and liveness wait until startup has passed. Periods run on the loop's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node import runtime
from sampan.node.pods import spec
from sampan.node.pods.state import PodState
from sampan.node.probes.check import Target, check

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
    """Invariant: tasks exist exactly for probes of running containers (since the last ``sync``)."""

    def __init__(
        self, group: asyncio.TaskGroup, source: runtime.Runtime, changed: Callable[[], None], report: Report
    ) -> None:
        self._group = group
        self._runtime = source
        self._changed = changed
        self._report = report
        self._tasks: dict[tuple[str, ProbeKind], asyncio.Task[None]] = {}
        self._passed: set[tuple[str, ProbeKind]] = set()
        self.started: set[str] = set()
        self.ready: set[str] = set()
        self.failed_liveness: set[str] = set()
        self.failed_startup: set[str] = set()

    def sync(self, pod: Obj, state: PodState, pod_ip: str, held: frozenset[str] = frozenset()) -> None:
        """Starts and stops probe tasks. ``held``: containers whose postStart hook still runs."""
        running = {item.id: item for item in state.running() if item.id not in held}
        for key in [key for key in self._tasks if key[0] not in running]:
            self._tasks.pop(key).cancel()
        for results in (self.started, self.ready, self.failed_liveness, self.failed_startup):
            results.intersection_update(running)
        for container_id, item in running.items():
            found = spec.find_container(pod, item.name)
            if found is None:
                continue
            target = Target(container_id, found[1], pod_ip)
            if not found[1].get("startupProbe"):
                self.started.add(container_id)
            for kind, field in _FIELDS.items():
                if found[1].get(field):
                    self._ensure(target, kind, found[1][field])
            if container_id in self.started and not found[1].get("readinessProbe"):
                self.ready.add(container_id)

    def adopt(self, container_ids: set[str]) -> None:
        """Containers that were ready before this agent started keep being so until a probe says otherwise."""
        self.ready |= container_ids
        self.started |= container_ids

    def stop(self, *, keep_readiness: bool = False) -> None:
        """At termination liveness and startup no longer matter; readiness goes on until the containers end."""
        for key in list(self._tasks):
            if not (keep_readiness and key[1] == "readiness"):
                self._tasks.pop(key).cancel()

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
            outcome = await check(probe, target, self._runtime, timeout)
            early = (
                kind != "liveness" and quick < period and outcome.result != "success" and not self._had(target, kind)
            )
            if outcome.result != "success" and not early:
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

    def _had(self, target: Target, kind: ProbeKind) -> bool:
        return (target.container_id, kind) in self._passed

    def _settle(self, container_id: str, kind: ProbeKind, *, passed: bool) -> None:
        if passed:
            self._passed.add((container_id, kind))
        before = (set(self.ready), set(self.started), set(self.failed_liveness), set(self.failed_startup))
        if kind == "readiness":
            (self.ready.add if passed else self.ready.discard)(container_id)
        elif kind == "startup":
            (self.started if passed else self.failed_startup).add(container_id)
        elif not passed:
            self.failed_liveness.add(container_id)
        if before != (self.ready, self.started, self.failed_liveness, self.failed_startup):
            self._changed()
