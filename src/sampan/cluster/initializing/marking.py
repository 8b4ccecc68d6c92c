"""The node of a control plane: labels and taints as kubeadm gives them, and the taint's old name beside the new one.

Instructions of before v1.24 take ``node-role.kubernetes.io/master:NoSchedule`` away, those of today ``control-plane``;
kubectl refuses to take away what is not there. So both are there, and whoever takes one of them away has taken both:
``plan_untaint`` says so, and the server process of the machine does it (``cluster.addons.label_control_plane``). An
annotation says that they belong together; taints that a person chose are left as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.api.errors import Conflict
from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.cluster.controlplanenodes import CONTROL_PLANE, MASTER, TOGETHER

LABELS = {CONTROL_PLANE: "", "node.kubernetes.io/exclude-from-external-load-balancers": ""}
DEFAULT_TAINTS: tuple[Mapping[str, str], ...] = tuple(
    {"key": key, "effect": "NoSchedule"} for key in (CONTROL_PLANE, MASTER)
)
_TRIES = 20


def marked(node: Obj, taints: Sequence[Mapping[str, str]] | None) -> Obj:
    """The node with labels and taints; ``taints`` None: those of a control plane. Pure."""
    wanted = DEFAULT_TAINTS if taints is None else taints
    meta, spec = node["metadata"], node.get("spec") or {}
    there = [dict(each) for each in spec.get("taints") or ()]
    named = {(each.get("key"), each.get("effect")) for each in there}
    new = [dict(each) for each in wanted if (each.get("key"), each.get("effect")) not in named]
    annotations = dict(meta.get("annotations") or {})
    if taints is None:
        annotations[TOGETHER] = "true"
    made: dict[str, Any] = {
        **node,
        "metadata": {**meta, "labels": {**(meta.get("labels") or {}), **LABELS}, "annotations": annotations},
    }
    if there or new:
        made["spec"] = {**spec, "taints": [*there, *new]}
    return made


async def mark(client: Client, name: str, taints: Sequence[Mapping[str, str]] | None = None) -> None:
    """Raises Conflict when others write the node all the time."""
    for last in (*[False] * (_TRIES - 1), True):
        node = await client.get(NODES, name)
        wanted = marked(node, taints)
        if wanted == node:
            return
        try:
            await client.update(NODES, wanted)
        except Conflict:  # the node agent writes its status
            if last:
                raise
        else:
            return
