"""What the runtime knows of one pod, as one value: read at start-up and after a lost event stream, else kept current.

The worker owns the value; planner and status only read it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from dataclasses import field, replace
from typing import TypeVar

from sampan.node import runtime
from sampan.records import dataclass

log = logging.getLogger(__name__)

_Item = TypeVar("_Item", runtime.Sandbox, runtime.Container)

HASH_ANNOTATION = "io.kubernetes.container.hash"
RESTART_COUNT_ANNOTATION = "io.kubernetes.container.restartCount"
TERMINATION_PATH_ANNOTATION = "io.kubernetes.container.terminationMessagePath"
TERMINATION_POLICY_ANNOTATION = "io.kubernetes.container.terminationMessagePolicy"
GRACE_ANNOTATION = "io.kubernetes.pod.terminationGracePeriod"
LOG_PATH_ANNOTATION = "io.kubernetes.container.logpath"


@dataclass(slots=True)
class PodState:
    """Invariant: every container's ``sandbox_id`` is one of ``sandboxes``, or that sandbox is removed."""

    sandboxes: dict[str, runtime.Sandbox] = field(default_factory=dict)
    containers: dict[str, runtime.Container] = field(default_factory=dict)

    @property
    def latest_sandbox(self) -> runtime.Sandbox | None:
        if not self.sandboxes:
            return None
        return max(self.sandboxes.values(), key=lambda sandbox: (sandbox.attempt, sandbox.created_at))

    @property
    def ready_sandbox(self) -> runtime.Sandbox | None:
        latest = self.latest_sandbox
        return latest if latest is not None and latest.ready else None

    def history(self, name: str) -> list[runtime.Container]:
        """Containers of this name, newest first."""
        found = [container for container in self.containers.values() if container.name == name]
        return sorted(found, key=lambda item: (item.created_at, item.attempt), reverse=True)

    def latest(self, name: str) -> runtime.Container | None:
        history = self.history(name)
        return history[0] if history else None

    def running(self) -> list[runtime.Container]:
        return [container for container in self.containers.values() if container.state == "running"]

    def put(self, container: runtime.Container, sandbox_id: str = "") -> None:
        known = self.containers.get(container.id)
        sandbox_id = sandbox_id or container.sandbox_id or (known.sandbox_id if known else "")
        if container.sandbox_id != sandbox_id:
            container = replace(container, sandbox_id=sandbox_id)
        self.containers[container.id] = container


def restart_count(container: runtime.Container) -> int:
    """Kept by the annotation across restarts of the agent; the attempt is the same number."""
    text = container.annotations.get(RESTART_COUNT_ANNOTATION, "")
    return int(text) if text.isdigit() else container.attempt


async def observe(source: runtime.Runtime, uid: str) -> PodState:
    """Everything the runtime has of the pod. Raises RuntimeCallError."""
    return (await _read(source, {runtime.POD_UID_LABEL: uid})).get(uid, PodState())


async def observe_all(source: runtime.Runtime) -> dict[str, PodState]:
    """Everything the runtime has, by the pods' uids. Raises RuntimeCallError."""
    return await _read(source, None)


async def _read(source: runtime.Runtime, labels: Mapping[str, str] | None) -> dict[str, PodState]:
    found: dict[str, PodState] = {}
    for sandbox in await source.list_sandboxes(labels):
        full = await _status_or_listed(source.sandbox_status(sandbox.id), sandbox)
        if full is not None:
            uid = sandbox.labels.get(runtime.POD_UID_LABEL, sandbox.uid)
            found.setdefault(uid, PodState()).sandboxes[sandbox.id] = full
    for listed in await source.list_containers(labels):
        container = await _status_or_listed(source.container_status(listed.id), listed)
        if container is not None:
            uid = listed.labels.get(runtime.POD_UID_LABEL, "")
            found.setdefault(uid, PodState()).put(container, listed.sandbox_id)
    return found


async def _status_or_listed(asked: Awaitable[_Item], listed: _Item) -> _Item | None:
    """None when it is gone. One broken sandbox must not keep the node from its other pods: the list's word will do."""
    try:
        return await asked
    except runtime.RuntimeNotFound:
        return None
    except (runtime.RuntimeUnavailable, runtime.RuntimeDeadline):
        raise
    except runtime.RuntimeCallError as error:
        log.warning("runtime: %s", error)
        return listed
