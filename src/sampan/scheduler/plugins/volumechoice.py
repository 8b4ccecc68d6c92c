"""Which volumes a pod would get on each node: bound ones, free ones that fit, ones that can be made there. Pure.

All nodes at once: for each volume a mask of the nodes that reach it, and for each claim, on each node, the volume that
it would get there. Of several claims the smallest chooses first, as upstream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Final, TypeAlias

import numpy as np

from sampan.api import objects
from sampan.api.nodes import affinity
from sampan.api.reading import part, parts, text, texts
from sampan.api.storage import claims, matching
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler import capacities
from sampan.scheduler.arrays import At, Bools, NodeArrays
from sampan.scheduler.plugins.nodeaffinity import match_any
from sampan.scheduler.storage import Storage

NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"
#: in place of an option: a volume is made for the claim; the one that is kept for it is out of reach
_MADE, _NOWHERE = -1, -2


Indexes: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int32]]


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
    #: there is room for what is to be made
    roomy: Bools
    claims: list[Obj]
    options: list[Obj]
    choices: list[Indexes]
    #: name of an option -> where it is taken
    taken: dict[str, Bools]


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
    reached, known, satisfied, roomy = (np.ones(length, np.bool_) for _ in range(4))
    for claim in needs.bound:
        volume = storage.volume(claims.volume_name(claim))
        if volume is None:
            known[:] = False
        else:
            reached &= reach(volume, nodes, at)
    found = Choice(reached, known, satisfied, roomy, [], [], [], {})
    for left, claim in enumerate(sorted(needs.delayed, key=claims.requested_bytes), 1 - len(needs.delayed)):
        chosen = np.full(length, _MADE, np.int32)
        if node := storage.selected_node(claim):
            satisfied &= nodes.where_name({node}, at)
        else:
            chosen = _match(claim, storage, nodes, at, found, more=left < 0)
        satisfied &= chosen != _NOWHERE
        if (chosen == _MADE).any():
            made = chosen == _MADE
            satisfied &= ~made | _can_be_made(claim, storage, nodes, at)
            roomy &= ~made | _has_room(claim, storage, nodes, at)
        found.claims.append(claim)
        found.choices.append(chosen)
    return found


def reach(volume: Obj, nodes: NodeArrays, at: At) -> Bools:
    """The nodes that the volume's affinity allows."""
    required = part(part(volume, "spec"), "nodeAffinity").get("required")
    if not isinstance(required, dict):
        return np.ones(nodes.length(at), np.bool_)
    return match_any(nodes, affinity.parse_terms(required), at)


def _match(claim: Obj, storage: Storage, nodes: NodeArrays, at: At, found: Choice, *, more: bool) -> Indexes:
    """For each node the best volume that the claim can have there. One that is kept for it is the only one. ``more``:
    other claims choose after this one."""
    kept = storage.given_to(claim) or matching.best_kept(storage.kept_for(claim), claim)
    candidates = [kept] if kept is not None else list(storage.free.fitting(claim, storage.volume, storage.promised()))
    ranks = _ranks(candidates, storage, nodes, at, found.taken)
    different, places = np.unique(ranks, return_inverse=True)
    numbers = np.full(len(different), _MADE if kept is None else _NOWHERE, np.int32)
    for position, rank in enumerate(different):
        if rank == len(candidates):
            continue
        numbers[position] = len(found.options)
        volume = candidates[int(rank)]
        found.options.append(volume)
        if more:
            here, name = places == position, objects.name(volume)
            found.taken[name] = found.taken.get(name, np.zeros(len(here), np.bool_)) | here
    return np.asarray(numbers[places], np.int32)


def _ranks(candidates: list[Obj], storage: Storage, nodes: NodeArrays, at: At, taken: Mapping[str, Bools]) -> Indexes:
    """For each node the position of the first candidate that it reaches and that no other claim has taken there;
    their number: there is none. What is bound to one value of a label, as local volumes are, costs a look-up."""
    none = len(candidates)
    ranks = np.full(nodes.length(at), none, np.int32)
    tables: dict[str, dict[int, int]] = {}
    for rank, volume in enumerate(candidates):
        label = None if objects.name(volume) in taken else storage.label_of(volume)
        if label is None:
            here = reach(volume, nodes, at) & (ranks == none)
            if (before := taken.get(objects.name(volume))) is not None:
                here &= ~before
            ranks[here] = rank
        elif (column := nodes.labels.get(label[0])) is not None and (number := column.find(label[1])) is not None:
            tables.setdefault(label[0], {}).setdefault(number, rank)
    for key, table in tables.items():
        column = nodes.labels[key]
        by_value = np.full(len(column.values), none, np.int32)
        by_value[list(table)] = list(table.values())
        np.minimum(ranks, by_value[column.ids[: nodes.size][at]], out=ranks)
    return ranks


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


def _has_room(claim: Obj, storage: Storage, nodes: NodeArrays, at: At) -> Bools:
    """Where the driver says that a volume of this size can be made; everywhere, when it does not want to be asked."""
    kind = claims.class_of(claim)
    driver = storage.driver(text(storage.storage_class(kind) or {}, "provisioner"))
    if not capacities.asks(driver):
        return np.ones(nodes.length(at), np.bool_)
    return storage.capacities.where(kind, claims.requested_bytes(claim), nodes, at)


def names(found: Choice, position: int) -> list[tuple[Obj, Obj | None]]:
    """What each delayed claim gets on one node: (claim, volume), None: one is made."""
    return [
        (claim, found.options[int(chosen[position])] if chosen[position] >= 0 else None)
        for claim, chosen in zip(found.claims, found.choices, strict=True)
    ]
