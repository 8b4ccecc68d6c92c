"""The table row of a pod: the one-word status that people know from ``kubectl get pods``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sampan.api import humanize
from sampan.api.clock import parse_time
from sampan.api.groups import printing
from sampan.api.kind import Column
from sampan.api.pods.containers import is_sidecar, of_sort
from sampan.api.pods.status import TERMINAL_PHASES, condition, is_true
from sampan.api.types import Obj

COLUMNS = (
    printing.NAME,
    Column("Ready"),
    Column("Status"),
    Column("Restarts"),
    printing.AGE,
    printing.wide("IP"),
    printing.wide("Node"),
    printing.wide("Nominated Node"),
    printing.wide("Readiness Gates"),
)


@dataclass(slots=True)
class _Restarts:
    count: int = 0
    last: datetime | None = None

    def add(self, status: Obj) -> None:
        self.count += status.get("restartCount", 0)
        finished = ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        if finished:
            moment = parse_time(finished)
            if self.last is None or self.last < moment:
                self.last = moment

    def text(self, now: datetime) -> str:
        if self.count and self.last is not None:
            return f"{self.count} ({humanize.human_duration(now - self.last)} ago)"
        return str(self.count)


@dataclass(slots=True)
class _Summary:
    reason: str
    ready: int
    total: int
    restarts: _Restarts
    initializing: bool = False


def _ended(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _init_reason(status: Obj, position: int, total: int) -> str:
    state = status.get("state") or {}
    if (terminated := state.get("terminated")) is not None:
        return f"Init:{_ended(terminated)}"
    waiting = (state.get("waiting") or {}).get("reason", "")
    if waiting and waiting != "PodInitializing":
        return f"Init:{waiting}"
    return f"Init:{position}/{total}"


def _init_containers(pod: Obj, summary: _Summary) -> _Restarts:
    """Follows the init containers up to the first that is not done; returns the restarts of sidecars alone."""
    declared = of_sort(pod, "init")
    sidecars = {container.get("name") for container in declared if is_sidecar("init", container)}
    summary.total += len(sidecars)
    sidecar_restarts = _Restarts()
    for position, status in enumerate((pod.get("status") or {}).get("initContainerStatuses") or ()):
        summary.restarts.add(status)
        sidecar = status.get("name") in sidecars
        if sidecar:
            sidecar_restarts.add(status)
        terminated = (status.get("state") or {}).get("terminated")
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if sidecar and status.get("started"):
            summary.ready += 1 if status.get("ready") else 0
            continue
        summary.reason = _init_reason(status, position, len(declared))
        summary.initializing = True
        break
    return sidecar_restarts


def _containers(pod: Obj, summary: _Summary) -> None:
    running = False
    for status in reversed((pod.get("status") or {}).get("containerStatuses") or ()):
        summary.restarts.add(status)
        state = status.get("state") or {}
        waiting = (state.get("waiting") or {}).get("reason", "")
        if waiting:
            summary.reason = waiting
        elif state.get("terminated") is not None:
            summary.reason = _ended(state["terminated"])
        elif status.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        summary.reason = "Running" if is_true(pod, "Ready") else "NotReady"


def summarize(pod: Obj) -> _Summary:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    phase = status.get("phase", "")
    summary = _Summary(status.get("reason") or phase, 0, len(spec.get("containers") or ()), _Restarts())
    if (condition(pod, "PodScheduled") or {}).get("reason") == "SchedulingGated":
        summary.reason = "SchedulingGated"
    sidecar_restarts = _init_containers(pod, summary)
    if not summary.initializing or is_true(pod, "Initialized"):
        summary.restarts = sidecar_restarts
        _containers(pod, summary)
    if pod.get("metadata", {}).get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            summary.reason = "Unknown"
        elif phase not in TERMINAL_PHASES:
            summary.reason = "Terminating"
    return summary


def _readiness_gates(pod: Obj) -> str:
    gates = (pod.get("spec") or {}).get("readinessGates") or []
    if not gates:
        return printing.NONE
    true = sum(is_true(pod, gate.get("conditionType", "")) for gate in gates)
    return f"{true}/{len(gates)}"


def row(pod: Obj, now: datetime) -> Sequence[Any]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    summary = summarize(pod)
    return (
        printing.name(pod),
        f"{summary.ready}/{summary.total}",
        summary.reason,
        summary.restarts.text(now),
        printing.age(pod, now),
        status.get("podIP") or printing.NONE,
        spec.get("nodeName") or printing.NONE,
        status.get("nominatedNodeName") or printing.NONE,
        _readiness_gates(pod),
    )
