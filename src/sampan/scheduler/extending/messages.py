"""What is said to extenders and what they answer (extender/v1). Pure.

Fields have the names of Go's structs, for upstream writes them without tags; answers are read without regard to case,
as Go reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.framework import Code

#: an extender's highest score
MAX_PRIORITY = 10


class BadAnswer(ValueError):
    """The extender answered something that is no answer."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """``failed``: why nodes are out, and whether preemption could change that."""

    names: tuple[str, ...]
    failed: Mapping[str, tuple[Code, str]]


@dataclass(frozen=True, slots=True)
class Victims:
    uids: tuple[str, ...]
    violations: int


def arguments(pod: Obj, names: Sequence[str], nodes: Iterable[Obj] | None) -> Obj:
    """``nodes`` None: the extender knows the nodes itself."""
    if nodes is None:
        return {"Pod": pod, "Nodes": None, "NodeNames": list(names)}
    return {"Pod": pod, "Nodes": {"metadata": {}, "items": list(nodes)}, "NodeNames": None}


def read_filtered(answer: Any, names: Sequence[str], url: str) -> Filtered:
    """Raises BadAnswer."""
    found = _fields(answer)
    if found.get("error"):
        raise BadAnswer(str(found["error"])[:1024])
    kept: list[str] = []
    if (listed := found.get("nodenames")) is not None:
        kept = [str(name) for name in _list(listed, "NodeNames")]
    elif (nodes := found.get("nodes")) is not None:
        for node in _list(_fields(nodes).get("items") or [], "Nodes"):
            kept.append(str(_fields(_fields(node).get("metadata")).get("name")))
    known = set(names)
    for name in kept:
        if name not in known:
            raise BadAnswer(
                f'extender "{url}" claims a filtered node "{name[:253]}" which is not found in the input node list'
            )
    failed: dict[str, tuple[Code, str]] = {}
    for field, code in (("failednodes", Code.UNSCHEDULABLE), ("failedandunresolvablenodes", Code.UNRESOLVABLE)):
        for name, message in _map(found.get(field)).items():
            if name in known:
                failed[name] = (code, str(message)[:1024])
    keeping = set(kept)
    return Filtered(tuple(name for name in names if name in keeping), failed)


def read_priorities(answer: Any) -> dict[str, int]:
    """Raises BadAnswer."""
    found: dict[str, int] = {}
    for item in _list(answer or [], "HostPriorityList"):
        entry = _fields(item)
        score = entry.get("score", 0)
        if type(score) is not int or abs(score) >= 2**31:
            raise BadAnswer("a score is not a whole number")
        found[str(entry.get("host", ""))] = score
    return found


def preemption_arguments(pod: Obj, victims: Mapping[str, tuple[Sequence[Obj], int]], *, by_uid: bool) -> Obj:
    """``victims``: by node, the pods that would go and how many budgets that breaks."""
    if by_uid:
        short = {
            node: {"Pods": [{"UID": each["metadata"].get("uid", "")} for each in pods], "NumPDBViolations": broken}
            for node, (pods, broken) in victims.items()
        }
        return {"Pod": pod, "NodeNameToVictims": None, "NodeNameToMetaVictims": short}
    whole = {node: {"Pods": list(pods), "NumPDBViolations": broken} for node, (pods, broken) in victims.items()}
    return {"Pod": pod, "NodeNameToVictims": whole, "NodeNameToMetaVictims": None}


def read_preemption(answer: Any) -> dict[str, Victims]:
    """Raises BadAnswer."""
    found: dict[str, Victims] = {}
    for node, item in _map(_fields(answer).get("nodenametometavictims")).items():
        entry = _fields(item)
        uids = tuple(str(_fields(pod).get("uid", "")) for pod in _list(entry.get("pods") or [], "Pods"))
        violations = entry.get("numpdbviolations") or 0
        if type(violations) is not int:
            raise BadAnswer("NumPDBViolations is not a whole number")
        found[str(node)] = Victims(uids, violations)
    return found


def binding(namespace: str, name: str, uid: str, node: str) -> Obj:
    return {"PodName": name, "PodNamespace": namespace, "PodUID": uid, "Node": node}


def read_bound(answer: Any) -> str:
    """Why it was not bound; "": it was. Raises BadAnswer."""
    return str(_fields(answer).get("error") or "")[:1024]


def _fields(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadAnswer("the answer is not an object where it should be one")
    return {str(name).lower(): item for name, item in value.items()}


def _map(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadAnswer("the answer is not an object where it should be one")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadAnswer(f"{name} is not a list")
    return value
