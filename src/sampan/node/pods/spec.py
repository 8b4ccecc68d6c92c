"""Questions about a pod's spec that several parts of the node agent ask. Pure functions on the object."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal

import orjson

from sampan.api.types import Obj

Sort = Literal["init", "main", "ephemeral"]
FIELDS: dict[Sort, str] = {"init": "initContainers", "main": "containers", "ephemeral": "ephemeralContainers"}


def containers(pod: Obj, sort: Sort) -> Sequence[Obj]:
    return pod["spec"].get(FIELDS[sort]) or ()


def all_containers(pod: Obj) -> Iterator[tuple[Sort, Obj]]:
    for sort in FIELDS:
        for container in containers(pod, sort):
            yield sort, container


def find_container(pod: Obj, name: str) -> tuple[Sort, Obj] | None:
    for sort, container in all_containers(pod):
        if container["name"] == name:
            return sort, container
    return None


def field_path(sort: Sort, name: str) -> str:
    """Where a container stands in its pod, as Events name it."""
    return f"spec.{FIELDS[sort]}{{{name}}}"


def is_sidecar(sort: Sort, container: Obj) -> bool:
    """An init container that keeps running (KEP-753)."""
    return sort == "init" and container.get("restartPolicy") == "Always"


def container_hash(container: Obj) -> str:
    """Changes when the running container must be replaced: name and image, as the kubelet has it."""
    return hashlib.sha256(orjson.dumps([container["name"], container.get("image", "")])).hexdigest()[:16]


def full_name(pod: Obj) -> str:
    """``name_namespace``, the kubelet's way to name a pod in messages."""
    return f"{pod['metadata']['name']}_{pod['metadata']['namespace']}"


def restart_policy(pod: Obj) -> str:
    return str(pod["spec"].get("restartPolicy") or "Always")


def should_restart(pod: Obj, sort: Sort, container: Obj, exit_code: int) -> bool:
    """Whether a container that ended with ``exit_code`` runs again."""
    if sort == "ephemeral":
        return False
    if is_sidecar(sort, container):
        return True
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        inside = exit_code in (codes.get("values") or ())
        if rule.get("action") in ("Restart", "RestartAllContainers") and inside == (codes.get("operator") == "In"):
            return True
    policy = container.get("restartPolicy") or restart_policy(pod)
    if policy == "Never":
        return False
    if sort == "init" or policy == "OnFailure":
        return exit_code != 0
    return True


def is_terminal(phase: str) -> bool:
    return phase in ("Succeeded", "Failed")


def termination_grace_seconds(pod: Obj) -> int:
    deletion = pod["metadata"].get("deletionGracePeriodSeconds")
    if pod["metadata"].get("deletionTimestamp") and deletion is not None:
        return max(int(deletion), 1)
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return max(30 if grace is None else int(grace), 1)


def is_mirror(pod: Obj) -> bool:
    return "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})


def is_host_network(pod: Obj) -> bool:
    return bool(pod["spec"].get("hostNetwork"))
