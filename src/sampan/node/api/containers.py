"""Finding the container that a request means: in the pod's status for logs, in the runtime for streams.

``log_container_id`` is pure and speaks the kubelet's words (validateContainerLogStatus).
"""

from __future__ import annotations

from typing import Protocol

from sampan.api.errors import BadRequest, InternalError, NotFound
from sampan.api.types import Obj
from sampan.node.env.sources import all_containers
from sampan.node.runtime import CONTAINER_NAME_LABEL, POD_UID_LABEL, Container, Runtime, RuntimeCallError

_STATUS_FIELDS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


class PodSource(Protocol):
    """The node agent's pods, with their status as the agent knows it: it may be newer than the API server's."""

    def pods(self) -> list[Obj]: ...

    def get_pod(self, namespace: str, name: str) -> Obj | None:
        """By name; a mirror pod stands for its static pod."""
        ...


def find_container(pod: Obj, name: str) -> Obj:
    """From the spec. Raises NotFound."""
    for container in all_containers(pod):
        if container["name"] == name:
            return container
    raise NotFound(f'container "{name}" not found in pod "{pod["metadata"]["name"]}"')


def log_container_id(pod: Obj, name: str, previous: bool) -> str:
    """The runtime's id of the container whose log is meant. Raises BadRequest."""
    label = f'container "{name}" in pod "{pod["metadata"]["name"]}"'
    status = _container_status(pod, name)
    if status is None:
        raise BadRequest(f"{label} is not available")
    state, last = status.get("state") or {}, (status.get("lastState") or {}).get("terminated") or {}
    last_id = last.get("containerID", "")
    if previous:
        if not last_id:
            raise BadRequest(f"previous terminated {label} not found")
        return _bare(last_id)
    if "running" in state:
        return _bare(status.get("containerID", ""))
    if "terminated" in state or last:
        found = (state.get("terminated") or {}).get("containerID") or last_id
        if not found:
            raise BadRequest(f"{label} is terminated")
        return _bare(found)
    if "waiting" in state:
        reason = state["waiting"].get("reason", "")
        why = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}
        raise BadRequest(f"{label} is waiting to start: {why.get(reason, reason)}")
    raise BadRequest(f"{label} is waiting to start - no logs yet")


async def running_container(runtime: Runtime, pod: Obj, name: str) -> str:
    """The id of the container to exec in or attach to. Raises NotFound, InternalError."""
    labels = {POD_UID_LABEL: pod["metadata"]["uid"], CONTAINER_NAME_LABEL: name}
    try:
        found = await runtime.list_containers(labels)
    except RuntimeCallError as error:
        raise InternalError(str(error)) from error
    running = [container for container in found if container.state == "running"]
    if not running:
        raise NotFound(f'container not found ("{name}")')
    newest: Container = max(running, key=lambda container: container.attempt)
    return newest.id


async def ready_sandbox(runtime: Runtime, pod: Obj) -> str:
    """The id of the pod's sandbox. Raises NotFound, InternalError."""
    meta = pod["metadata"]
    try:
        found = await runtime.list_sandboxes({POD_UID_LABEL: meta["uid"]})
    except RuntimeCallError as error:
        raise InternalError(str(error)) from error
    ready = [sandbox for sandbox in found if sandbox.ready]
    if not ready:
        raise NotFound(f'pod not found ("{meta["name"]}_{meta["namespace"]}")')
    return max(ready, key=lambda sandbox: sandbox.attempt).id


def _container_status(pod: Obj, name: str) -> Obj | None:
    status = pod.get("status") or {}
    for field in _STATUS_FIELDS:
        for each in status.get(field) or ():
            if each.get("name") == name:
                found: Obj = each
                return found
    return None


def _bare(container_id: str) -> str:
    """``containerd://abc`` is ``abc``."""
    return container_id.rpartition("://")[2]
