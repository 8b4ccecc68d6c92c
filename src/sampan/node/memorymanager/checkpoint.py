"""The file that outlives the agent: ``memory_manager_state``, in the kubelet's form but for its checksum. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from sampan.node.memorymanager.policy import Block, Blocks, StaticPolicy
from sampan.node.topology.hints import mask_of, nodes_of

FILE = "memory_manager_state"
LIMIT_BYTES = 4 << 20
#: more than any kernel knows
_MOST_NODES = 1024


class State(NamedTuple):
    policy: str
    #: total, system's and allocatable bytes, by node and resource
    machine: dict[int, dict[str, tuple[int, int, int]]]
    assigned: Blocks


def encode(policy: StaticPolicy) -> bytes:
    entries = {
        uid: {
            name: [
                {"numaAffinity": nodes_of(block.nodes), "type": block.resource, "size": block.size} for block in blocks
            ]
            for name, blocks in of_pod.items()
        }
        for uid, of_pod in policy.assigned.items()
    }
    document = {"policyName": "Static", "machineState": _machine_state(policy), "entries": entries}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def machine(policy: StaticPolicy) -> dict[int, dict[str, tuple[int, int, int]]]:
    """As ``State.machine``, of this machine."""
    found: dict[int, dict[str, tuple[int, int, int]]] = {}
    for cell in policy.cells:
        totals, kept = {**cell.hugepages, "memory": cell.memory_bytes}, policy.reserved.get(cell.id, {})
        found[cell.id] = {
            name: (total, kept.get(name, 0), policy.allocatable[cell.id][name]) for name, total in totals.items()
        }
    return found


def _machine_state(policy: StaticPolicy) -> dict[str, Any]:
    blocks = [block for of_pod in policy.assigned.values() for each in of_pod.values() for block in each]
    left: dict[tuple[int, str], int] = {}
    for block in blocks:
        left[block.nodes, block.resource] = left.get((block.nodes, block.resource), 0) + block.size
    state: dict[str, Any] = {}
    for node, tables in machine(policy).items():
        mine = [block for block in blocks if block.nodes >> node & 1]
        group = mine[0].nodes if mine else mask_of([node])
        shown = {}
        for name, (total, system, allocatable) in tables.items():
            # A group is filled from its first node on.
            used = min(left.get((group, name), 0), allocatable)
            if used:
                left[group, name] -= used
            shown[name] = {
                "total": total, "systemReserved": system, "allocatable": allocatable, "reserved": used,
                "free": allocatable - used,
            }  # fmt: skip
        state[str(node)] = {"numberOfAssignments": len(mine), "memoryMap": shown, "cells": nodes_of(group)}
    return state


def decode(data: bytes) -> State | None:
    """None: there is none, or it is damaged."""
    try:
        document = orjson.loads(data)
        tables = {
            int(node): {
                name: (int(table["total"]), int(table["systemReserved"]), int(table["allocatable"]))
                for name, table in each["memoryMap"].items()
            }
            for node, each in (document.get("machineState") or {}).items()
        }
        assigned = {
            uid: {name: [_block(each) for each in blocks] for name, blocks in of_pod.items()}
            for uid, of_pod in (document.get("entries") or {}).items()
        }
        return State(str(document["policyName"]), tables, assigned)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _block(entry: Any) -> Block:
    nodes, size = entry["numaAffinity"], entry["size"]
    if not all(type(node) is int and 0 <= node < _MOST_NODES for node in nodes) or type(size) is not int or size < 0:
        raise ValueError("no block of memory")
    return Block(mask_of(nodes), str(entry["type"]), size)


def misfit(state: State, policy: StaticPolicy) -> str:
    """Why the policy cannot go on from there; "": it can. Where nobody has anything, nothing is lost."""
    if state.policy != "Static":
        return f'configured policy "Static" differs from state checkpoint policy "{state.policy}"'
    if not state.assigned:
        return ""
    if why := policy.misfit(state.assigned):
        return why
    if state.machine != machine(policy):
        return "[memorymanager] the expected machine state is different from the real one"
    return ""
