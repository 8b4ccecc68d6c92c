"""What differs between ReplicaSet and ReplicationController for the one controller of both. Data."""

from __future__ import annotations

from collections.abc import Callable

from sampan.api import labels
from sampan.api.resources import REPLICA_SETS, REPLICATION_CONTROLLERS, Resource
from sampan.api.types import Obj
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Adapter:
    resource: Resource
    controller_name: str
    selector: Callable[[Obj], labels.Selector]


def _label_selector(obj: Obj) -> labels.Selector:
    return labels.from_label_selector(obj["spec"].get("selector"))


def _map_selector(obj: Obj) -> labels.Selector:
    selector = obj["spec"].get("selector")
    # An empty selector would claim the whole namespace.
    return labels.from_map(selector) if selector else labels.NOTHING


REPLICA_SET = Adapter(REPLICA_SETS, "replicaset-controller", _label_selector)
REPLICATION_CONTROLLER = Adapter(REPLICATION_CONTROLLERS, "replication-controller", _map_selector)
