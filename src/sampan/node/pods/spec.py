"""Questions about a pod's spec that several parts of the node agent ask. Pure functions on the object.

What others ask too is answered by ``api/pods`` and only named here.
"""

from __future__ import annotations

import hashlib

import orjson

from sampan.api.pods.containers import FIELDS, Sort, is_host_network, is_sidecar
from sampan.api.pods.containers import find as find_container
from sampan.api.pods.containers import of_sort as containers
from sampan.api.pods.containers import walk as all_containers
from sampan.api.pods.origin import is_mirror
from sampan.api.pods.status import is_terminal_phase as is_terminal
from sampan.api.types import Obj

__all__ = [
    "FIELDS", "Sort", "all_containers", "container_hash", "containers", "field_path", "find_container", "full_name",
    "is_host_network", "is_mirror", "is_sidecar", "is_terminal", "may_restart_all", "restart_policy", "restarts_all",
    "should_restart", "termination_grace_seconds",
]  # fmt: skip


def resources_of(pod: Obj, name: str) -> Obj:
    """What a container asks for in the specification."""
    found = find_container(pod, name)
    return (found[1].get("resources") or {}) if found is not None else {}


def field_path(sort: Sort, name: str) -> str:
    """Where a container stands in its pod, as Events name it."""
    return f"spec.{FIELDS[sort]}{{{name}}}"


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
    if _rule(container, exit_code):
        return True
    policy = container.get("restartPolicy") or restart_policy(pod)
    if policy == "Never":
        return False
    if sort == "init" or policy == "OnFailure":
        return exit_code != 0
    return True


def _rule(container: Obj, exit_code: int) -> str:
    """The action of the first of the container's rules that speaks of this exit code; "": none does."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        inside = exit_code in (codes.get("values") or ())
        if rule.get("action") in ("Restart", "RestartAllContainers") and inside == (codes.get("operator") == "In"):
            return str(rule["action"])
    return ""


def restarts_all(container: Obj, exit_code: int) -> bool:
    """Whether all containers of the pod begin anew because this one ended so (KEP-5532)."""
    return _rule(container, exit_code) == "RestartAllContainers"


def may_restart_all(pod: Obj) -> bool:
    return any(
        rule.get("action") == "RestartAllContainers"
        for _, container in all_containers(pod)
        for rule in container.get("restartPolicyRules") or ()
    )


def termination_grace_seconds(pod: Obj) -> int:
    deletion = pod["metadata"].get("deletionGracePeriodSeconds")
    if pod["metadata"].get("deletionTimestamp") and deletion is not None:
        return max(int(deletion), 1)
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return max(30 if grace is None else int(grace), 1)
