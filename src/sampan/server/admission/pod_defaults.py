"""Small completions of new pods and nodes: DefaultTolerationSeconds and TaintNodesByCondition."""

from __future__ import annotations

from sampan.api.reading import parts
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, is_for
from sampan.server.attributes import AdmissionAttributes

NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_TOLERATION_SECONDS = 300


class DefaultTolerationSeconds(Plugin):
    """A pod stays five minutes on a node that is not ready or unreachable, unless it says otherwise."""

    name = "DefaultTolerationSeconds"
    resources = frozenset({("", "pods")})

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "pods", "CREATE", "UPDATE"):
            return
        spec = attributes.obj.get("spec")
        if not isinstance(spec, dict):
            return  # validation's to say
        tolerations = list(parts(spec, "tolerations"))
        added = [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _TOLERATION_SECONDS}
            for key in (NOT_READY, UNREACHABLE)
            if not any(_speaks_of(toleration, key) for toleration in tolerations)
        ]
        if added:
            spec["tolerations"] = [*tolerations, *added]


def _speaks_of(toleration: Obj, key: str) -> bool:
    return toleration.get("key", "") in (key, "") and toleration.get("effect", "") in ("NoExecute", "")


class TaintNodesByCondition(Plugin):
    """A new node takes no pods until it has reported itself ready."""

    name = "TaintNodesByCondition"
    resources = frozenset({("", "nodes")})

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "nodes", "CREATE"):
            return
        if not isinstance(attributes.obj.get("spec"), dict):
            attributes.obj["spec"] = {}
        spec = attributes.obj["spec"]
        taints = list(parts(spec, "taints"))
        if not any(taint.get("key") == NOT_READY and taint.get("effect") == "NoSchedule" for taint in taints):
            spec["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]
