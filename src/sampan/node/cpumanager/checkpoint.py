"""The file that outlives the agent: ``cpu_manager_state``, in the kubelet's form but for its checksum. Pure."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from sampan.node.cpumanager.policy import Assignments, StaticPolicy
from sampan.node.processors import Cpus, parse, show

FILE = "cpu_manager_state"
LIMIT_BYTES = 1 << 20


class State(NamedTuple):
    policy: str
    shared: Cpus
    assigned: Assignments


def encode(shared: Cpus, assigned: Assignments) -> bytes:
    entries = {uid: {name: show(cpus) for name, cpus in each.items()} for uid, each in assigned.items()}
    document = {"policyName": "static", "defaultCpuSet": show(shared), "entries": entries}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def decode(data: bytes) -> State | None:
    """None: there is none, or it is damaged."""
    try:
        document = orjson.loads(data)
        entries = document.get("entries") or {}
        found = {uid: {name: parse(text) for name, text in each.items()} for uid, each in entries.items()}
        return State(str(document["policyName"]), parse(document["defaultCpuSet"]), found)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def misfit(state: State, policy: StaticPolicy) -> str:
    """Why the policy cannot go on from there, as the kubelet says it; "": it can. Where nobody has anything, nothing is
    lost, and other reservations or processors are no matter: the kubelet wants the file removed then, too."""
    if state.policy != "static":
        return f'configured policy "static" differs from state checkpoint policy "{state.policy}"'
    given = [(uid, name, cpus) for uid, each in state.assigned.items() for name, cpus in each.items()]
    if not given:
        return ""
    reserved, strict = policy.reserved, not policy.reserved <= policy.usable
    if not state.shared and not strict:  # strictly reserved ones are not among them: all others may be given
        return "default cpuset cannot be empty"
    if strict and reserved & state.shared:
        return (
            f'some of strictly reserved cpus: "{show(reserved & state.shared)}" are present in defaultCpuSet: '
            f'"{show(state.shared)}"'
        )
    if not strict and not reserved <= state.shared:
        return f'not all reserved cpus: "{show(reserved)}" are present in defaultCpuSet: "{show(state.shared)}"'
    owners: dict[int, str] = {}
    for uid, name, cpus in given:
        if cpus & state.shared:
            return (
                f'pod: {uid}, container: {name} cpuset: "{show(cpus)}" overlaps with default cpuset '
                f'"{show(state.shared)}"'
            )
        if not cpus or any(owners.setdefault(cpu, uid) != uid for cpu in cpus):
            return f'pod: {uid}, container: {name} cpuset: "{show(cpus)}" is empty or another pod\'s'
    known = state.shared.union(*(cpus for _, _, cpus in given))
    if known != policy.usable:
        return (
            f'current set of available CPUs "{show(policy.usable)}" doesn\'t match with CPUs in state "{show(known)}"'
        )
    return ""
