"""Which volumes a pod would get on each node: bound ones, free ones that fit, ones that can be made there. Pure.

All nodes at once: for each volume a mask of the nodes that reach it, and for each claim, on each node, the volume that
it would get there. Of several claims the smallest chooses first, as upstream.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Final

import numpy as np

from sampan.api.labels import IN
from sampan.api.nodes import affinity
from sampan.api.reading import part, parts, text, texts
from sampan.api.storage import claims, matching
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.arrays import At, Bools, NodeArrays
from sampan.scheduler.plugins.nodeaffinity import match_any
from sampan.scheduler.storage import Storage

NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"
#: in place of an option: a volume is made for the claim; the one that is kept for it is out of reach
_MADE, _NOWHERE = -1, -2


@dataclass(slots=True)
class Needs:
    """The claims of a pod: bound, waiting for the pod's node, waiting for anything else."""

    bound: list[Obj] = field(default_factory=list)
    delayed: list[Obj] = field(default_factory=list)
    immediate: list[Obj] = field(default_factory=list)


@dataclass(slots=True)
class Choice:
    """By slot of ``at``. ``choices``: for each delayed claim, in the order of ``claims``, the index into ``options`` of
    the volume that it gets there; below 0: none."""

    reached: Bools
    known: Bools
    satisfied: Bools
    claims: list[Obj]
    options: list[Obj]
    choices: list[np.ndarray[tuple[int], np.dtype[np.int32]]]


def sort_claims(found: Iterable[Obj], storage: Storage) -> Needs:
    """A claim that names a volume and is not bound waits for the binder, whatever its class."""
    needs = Needs()
    for claim in found:
        if claims.is_bound(claim):
            needs.bound.append(claim)
        elif not claims.volume_name(claim) and claims.is_delayed(storage.storage_class(claims.class_of(claim))):
            needs.delayed.append(claim)
        else:
            needs.immediate.append(claim)
    return needs


def choose(needs: Needs, storage: Storage, nodes: NodeArrays, at: At) -> Choice:
    length = nodes.length(at)
    reached, known, satisfied = (np.ones(length, np.bool_) for _ in range(3))
    for claim in needs.bound:
        volume = storage.volume(claims.volume_name(claim))
        if volume is None:
            known[:] = False
        else:
            reached &= reach(volume, nodes, at)
    found = Choice(reached, known, satisfied, [], [], [])
    taken: dict[int, Bools] = {}
    for claim in sorted(needs.delayed, key=claims.requested_bytes):
        chosen = np.full(length, _MADE, np.int32)
        if node := storage.selected_node(claim):
            satisfied &= nodes.where_name({node}, at)
        else:
            chosen = _match(claim, storage, nodes, at, found.options, taken)
        satisfied &= chosen != _NOWHERE
        if (chosen == _MADE).any():
            satisfied &= (chosen != _MADE) | _can_be_made(claim, storage, nodes, at)
        found.claims.append(claim)
        found.choices.append(chosen)
    return found


def reach(volume: Obj, nodes: NodeArrays, at: At) -> Bools:
    """The nodes that the volume's affinity allows."""
    required = part(part(volume, "spec"), "nodeAffinity").get("required")
    if not isinstance(required, dict):
        return np.ones(nodes.length(at), np.bool_)
    terms = affinity.parse_terms(required)
    if len(terms) == 1 and len(terms[0].requirements) == 1 and not terms[0].fields:
        # One label of one value, as local volumes have it: a look-up in place of a question to each value there is.
        only = terms[0].requirements[0]
        if only.operator == IN and len(only.values) == 1 and (column := nodes.labels.get(only.key)) is not None:
            return np.asarray(column.ids[: nodes.size][at] == column.intern(next(iter(only.values))))
    return match_any(nodes, terms, at)


def _match(
    claim: Obj, storage: Storage, nodes: NodeArrays, at: At, options: list[Obj], taken: dict[int, Bools]
) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """For each node the volume that the claim gets there. One that is kept for it is the only one it can get."""
    chosen = np.full(nodes.length(at), _MADE, np.int32)
    kept = storage.given_to(claim) or matching.best_kept(storage.kept_for(claim), claim)
    candidates = [kept] if kept is not None else storage.free.fitting(claim, storage.volume, storage.promised())
    for volume in candidates:
        index = next((i for i, each in enumerate(options) if each is volume), len(options))
        open_ = (chosen < 0) & reach(volume, nodes, at)
        if index in taken:
            open_ &= ~taken[index]
        if open_.any():
            if index == len(options):
                options.append(volume)
            chosen[open_] = index
            taken[index] = taken.get(index, np.zeros(len(chosen), np.bool_)) | open_
            if (chosen >= 0).all():
                break
    if kept is not None:
        chosen[chosen < 0] = _NOWHERE
    return chosen


def _can_be_made(claim: Obj, storage: Storage, nodes: NodeArrays, at: At) -> Bools:
    """Where the provisioner of the claim's class can make a volume."""
    storage_class = storage.storage_class(claims.class_of(claim))
    if storage_class is None or text(storage_class, "provisioner") in ("", NO_PROVISIONER):
        return np.zeros(nodes.length(at), np.bool_)
    topologies = list(parts(storage_class, "allowedTopologies"))
    if not topologies:
        return np.ones(nodes.length(at), np.bool_)
    allowed = np.zeros(nodes.length(at), np.bool_)
    for topology in topologies:
        matched = np.ones(nodes.length(at), np.bool_)
        for label in parts(topology, "matchLabelExpressions"):
            values = frozenset(texts(label, "values"))
            matched &= nodes.where_label(text(label, "key"), values.__contains__, at)
        allowed |= matched
    return allowed


def names(found: Choice, position: int) -> list[tuple[Obj, Obj | None]]:
    """What each delayed claim gets on one node: (claim, volume), None: one is made."""
    return [
        (claim, found.options[int(chosen[position])] if chosen[position] >= 0 else None)
        for claim, chosen in zip(found.claims, found.choices, strict=True)
    ]
