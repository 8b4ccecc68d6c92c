"""The names that make a node a control plane's, and what one of its taints means for the other. Pure.

See ``initializing.marking``, which gives them; the server process of each control plane follows its own node.
"""

from __future__ import annotations

from typing import Any

from sampan.api.types import Obj

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
#: the name of before v1.24
MASTER = "node-role.kubernetes.io/master"
#: The two taints go together: whoever takes one away has taken both.
TOGETHER = "sampan.io/control-plane-taints-together"


def plan_untaint(node: Obj) -> dict[str, Any] | None:
    """A merge patch that takes the second of the two taints away, where somebody took the first; None: nothing to do.
    It carries the node's resourceVersion: taints are one list, and others write it."""
    meta = node["metadata"]
    if TOGETHER not in (meta.get("annotations") or {}):
        return None
    taints = (node.get("spec") or {}).get("taints") or []
    pair = [each for each in taints if each.get("key") in (CONTROL_PLANE, MASTER)]
    if {each["key"] for each in pair} == {CONTROL_PLANE, MASTER}:
        return None
    patch: dict[str, Any] = {
        "metadata": {"resourceVersion": meta["resourceVersion"], "annotations": {TOGETHER: None}},
    }
    if pair:
        patch["spec"] = {"taints": [each for each in taints if each not in pair] or None}
    return patch
