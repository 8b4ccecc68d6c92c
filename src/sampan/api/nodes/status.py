"""How a node is doing and where it stands, as it says itself. Pure; never raises."""

from __future__ import annotations

from sampan.api.reading import flag, part, parts, text_map
from sampan.api.types import Condition, Obj

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
REGION = "topology.kubernetes.io/region"


def condition(node: Obj, kind: str) -> Condition | None:
    for entry in parts(part(node, "status"), "conditions"):
        if entry.get("type") == kind:
            found: Condition = entry  # type: ignore[assignment]  # read as one; absent fields count as such
            return found
    return None


def is_ready(node: Obj) -> bool:
    found = condition(node, "Ready")
    return found is not None and found.get("status") == "True"


def is_cordoned(node: Obj) -> bool:
    return flag(part(node, "spec"), "unschedulable")


def labels(node: Obj) -> dict[str, str]:
    return dict(text_map(part(node, "metadata"), "labels"))


def zone(node: Obj) -> str:
    return labels(node).get(ZONE, "")


def zone_key(node: Obj) -> str:
    """Region and zone together, "" for a node with neither: zones of two regions may bear one name."""
    own = labels(node)
    region, name = own.get(REGION, ""), own.get(ZONE, "")
    return f"{region}:\x00:{name}" if region or name else ""
