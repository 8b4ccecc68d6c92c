"""Where volumes are asked for, and where they can be reached: between labels of nodes and a driver's topologies. Pure.

(external-provisioner ``pkg/controller/topology.go``.)
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sampan.api import objects
from sampan.api.reading import parts, text, text_map, texts
from sampan.api.types import Obj
from sampan.csi.pb import csi_pb2 as csi
from sampan.records import dataclass

Segments = tuple[tuple[str, str], ...]
#: topologies of one request; a driver with more asks for a node to be chosen first
_MOST: Final = 2000


@dataclass(frozen=True, slots=True)
class NodeTopology:
    """What a driver says of one node: ``keys`` in CSINode, their values on the Node."""

    node: str
    segments: Segments


def keys_of(csi_node: Obj | None, driver: str) -> tuple[str, ...]:
    found = (each for each in parts((csi_node or {}).get("spec"), "drivers") if text(each, "name") == driver)
    return tuple(sorted(texts(next(found, {}), "topologyKeys")))


def of_node(node: Obj, csi_node: Obj | None, driver: str) -> NodeTopology | None:
    """None: the driver is not registered there, or the node lacks one of its labels."""
    labels, keys = text_map(node.get("metadata"), "labels"), keys_of(csi_node, driver)
    if not keys or not all(key in labels for key in keys):
        return None
    return NodeTopology(objects.name(node), tuple((key, labels[key]) for key in keys))


def allowed(storage_class: Obj) -> list[Segments]:
    """Each combination of what the class allows; empty: it does not say."""
    found: list[Segments] = []
    for term in parts(storage_class, "allowedTopologies"):
        choices = [
            [(text(each, "key"), value) for value in texts(each, "values")]
            for each in parts(term, "matchLabelExpressions")
        ]
        for combination in itertools.islice(itertools.product(*choices), _MOST):
            found.append(tuple(sorted(combination)))
    return sorted(set(found))[:_MOST]


class NoTopology(Exception):
    """The message says why."""


def requirement(
    everywhere: Iterable[NodeTopology],
    storage_class: Obj,
    selected: NodeTopology | None,
    spread: str,
    *,
    strict: bool,
) -> Any:
    """A TopologyRequirement; None: the volume may be anywhere. ``selected``: of the node that was chosen; then it is
    the first that is preferred. ``spread``: what the first is chosen by, where no node was. Raises NoTopology."""
    wanted = allowed(storage_class)
    if strict and selected is not None:
        if wanted and not _within(selected.segments, wanted):
            raise NoTopology(f"selected node '{selected.node}' is not in the class's allowed topologies")
        requisite = [selected.segments]
    else:
        requisite = wanted or sorted({each.segments for each in everywhere})[:_MOST]
    if not requisite:
        return None
    if selected is not None:
        if not _within(selected.segments, requisite):
            raise NoTopology(f"selected node '{selected.node}' is not in the class's allowed topologies")
        first = next(at for at, each in enumerate(requisite) if set(each) <= set(selected.segments))
    else:
        first = int.from_bytes(hashlib.sha256(spread.encode()).digest()[:4]) % len(requisite)
    preferred = [*requisite[first:], *requisite[:first]]
    return csi.TopologyRequirement(
        requisite=[csi.Topology(segments=dict(each)) for each in requisite],
        preferred=[csi.Topology(segments=dict(each)) for each in preferred],
    )


def _within(segments: Segments, requisite: Iterable[Segments]) -> bool:
    return any(set(each) <= set(segments) for each in requisite)


def affinity(topologies: Iterable[Any]) -> Obj | None:
    """The nodeAffinity of a volume that is reached from these; None: from everywhere."""
    terms = [{"matchExpressions": list(_expressions(each.segments))} for each in topologies if each.segments]
    return {"required": {"nodeSelectorTerms": terms}} if terms else None


def _expressions(segments: Mapping[str, str]) -> Iterator[Obj]:
    for key in sorted(segments):
        yield {"key": key, "operator": "In", "values": [segments[key]]}
