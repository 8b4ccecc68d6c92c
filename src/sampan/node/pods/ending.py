"""The plans of a pod that begins, ends, and has ended. Called by ``machine``; nothing here starts a container.

Containers end together, sidecars after them in the reverse order of their start, all within one grace period that a
second delete may shorten; preStop hooks run at once. Then the sandbox, the volumes, the cgroup, the last status.
"""

from __future__ import annotations

from datetime import datetime

from sampan.api import durations
from sampan.node.pods import operations, spec
from sampan.node.pods.absorb import new_stop
from sampan.node.pods.live import Steps, plan_looks, plan_stops
from sampan.node.pods.operations import Tell
from sampan.node.pods.record import PodRecord


def plan_adopting(record: PodRecord, now: datetime) -> Steps:
    steps = Steps()
    plan_looks(record, steps)
    return steps


def plan_ending(record: PodRecord, now: datetime) -> Steps:
    steps = Steps()
    if record.ending_since is None:
        record.ending_since = now
    looking = plan_looks(record, steps)
    running = record.state.running()
    if running:
        _begin_stops(record, now, steps)
        plan_stops(record, now, steps, waiting=_whose_turn_has_not_come(record))
        return steps
    if looking or record.starting() or record.is_under_way(operations.RunSandbox):
        return steps
    if not record.terminal:
        record.terminal = True
        record.serial += 1
    left = [each for each in record.state.sandboxes if each not in record.stopped_sandboxes]
    for sandbox_id in left:
        steps.ask(operations.StopSandbox(sandbox_id))
    if left or record.is_under_way(operations.MountVolumes):
        return steps
    if not record.unmounted:
        steps.ask(operations.UnmountVolumes())
    elif not record.cgroup_removed:
        steps.ask(operations.RemoveCgroup())
    return steps


def _begin_stops(record: PodRecord, now: datetime, steps: Steps) -> None:
    deadline = now + durations.span(record.grace_seconds())
    for container in record.state.running():
        stop = record.stops.get(container.id)
        if stop is None:
            stop = new_stop(record, container.id, container.name, record.grace_seconds(), now)
            record.stops[container.id] = stop
            steps.tells.append(Tell("Normal", "Killing", f"Stopping container {container.name}", container.name))
        elif stop.deadline > deadline:
            stop.deadline = deadline


def _whose_turn_has_not_come(record: PodRecord) -> frozenset[str]:
    """Sidecars, while a container that they serve runs: a main one, or a sidecar that was started after them."""
    sidecars = [item["name"] for item in spec.containers(record.pod, "init") if spec.is_sidecar("init", item)]
    if not sidecars:
        return frozenset()
    running = record.state.running()
    if any(container.name not in sidecars for container in running):
        turn = -1
    else:
        turn = max(sidecars.index(container.name) for container in running)
    return frozenset(
        container.id for container in running if container.name in sidecars and sidecars.index(container.name) != turn
    )


def plan_lingering(record: PodRecord, now: datetime) -> Steps:
    steps = Steps()
    if plan_looks(record, steps):
        return steps
    if record.object_gone or record.object_deleted:  # finalizers may keep the object, not what is on the node
        for sandbox_id in record.state.sandboxes:
            steps.ask(operations.RemoveSandbox(sandbox_id))
        if not record.state.sandboxes and not record.logs_removed:
            steps.ask(operations.RemoveLogs())
    elif record.is_deleted and not record.object_deleted and record.is_status_sent:
        steps.ask(operations.DeleteObject())
    return steps
