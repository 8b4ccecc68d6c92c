"""The file that outlives the agent: ``cpu_manager_state``, in the kubelet's form but for its checksum. Pure."""

from __future__ import annotations

import orjson

from sampan.node.cpumanager.policy import Assignments
from sampan.node.processors import Cpus, parse, show

FILE = "cpu_manager_state"
LIMIT_BYTES = 1 << 20


def encode(shared: Cpus, assigned: Assignments) -> bytes:
    entries = {uid: {name: show(cpus) for name, cpus in each.items()} for uid, each in assigned.items()}
    document = {"policyName": "static", "defaultCpuSet": show(shared), "entries": entries}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def decode(data: bytes, allocatable: Cpus) -> Assignments | None:
    """None: there is none, it is damaged, or it speaks of another machine or policy."""
    try:
        document = orjson.loads(data)
        if document["policyName"] != "static":
            return None
        found = {uid: {name: parse(text) for name, text in each.items()} for uid, each in document["entries"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    seen: set[int] = set()
    for each in found.values():
        mine = {cpu for cpus in each.values() for cpu in cpus}
        if not mine <= allocatable or mine & seen or not all(each.values()):
            return None
        seen |= mine
    return found
