"""Priority: the PriorityClass of a pod, or of a group of pods, becomes its number; at most one class is the default."""

from __future__ import annotations

from sampan.api.reading import part
from sampan.api.resources import PRIORITY_CLASSES
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.admission.followed import Followed
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ObjectReader

_GROUP = "scheduling.k8s.io"


class Priority(Plugin):
    name = "Priority"
    resources = frozenset({("", "pods"), (_GROUP, "priorityclasses"), (_GROUP, "podgroups")})

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._classes = Followed(reader, PRIORITY_CLASSES)

    async def admit(self, attributes: AdmissionAttributes) -> None:
        is_group = is_for(attributes, "podgroups", "CREATE", "UPDATE", group=_GROUP)
        if attributes.obj is None or not (is_group or is_for(attributes, "pods", "CREATE", "UPDATE")):
            return
        spec = attributes.obj.get("spec")
        if not isinstance(spec, dict):
            return  # validation's to say
        if attributes.operation == "UPDATE":
            old = part(attributes.old, "spec")
            for key in ("priority", "preemptionPolicy"):
                # A client that does not know the field would otherwise drop what admission once set.
                if spec.get(key) is None and old.get(key) is not None:
                    spec[key] = old[key]
            return
        chosen = await self._class(attributes, spec.get("priorityClassName", ""))
        self._number(attributes, spec, chosen, "pod group" if is_group else "pod")
        if not is_group:
            self._policy(attributes, spec, chosen)

    @staticmethod
    def _number(attributes: AdmissionAttributes, spec: Obj, chosen: Obj | None, what: str) -> None:
        value = int(chosen.get("value", 0)) if chosen else 0
        if chosen is not None:
            spec["priorityClassName"] = chosen["metadata"]["name"]
        if spec.get("priority") is not None and spec["priority"] != value:
            detail = (
                f"the integer value of priority ({spec['priority']}) must not be provided in {what} spec; "
                f"priority admission controller computed {value} from the given PriorityClass name"
            )
            raise refuse(attributes, detail)
        spec["priority"] = value

    @staticmethod
    def _policy(attributes: AdmissionAttributes, spec: Obj, chosen: Obj | None) -> None:
        policy = (chosen or {}).get("preemptionPolicy") or "PreemptLowerPriority"
        if spec.get("preemptionPolicy") not in (None, policy):
            detail = (
                f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
                f"priority admission controller computed {policy} from the given PriorityClass name"
            )
            raise refuse(attributes, detail)
        spec["preemptionPolicy"] = policy

    async def _class(self, attributes: AdmissionAttributes, name: str) -> Obj | None:
        if not name:
            defaults = [item for item in self._classes.of().values() if item.get("globalDefault")]
            return min(defaults, key=lambda item: int(item.get("value", 0)), default=None)
        found = self._classes.of().get(name)
        found = found or await self._reader.fresh(PRIORITY_CLASSES, None, name)
        if found is None:
            raise refuse(attributes, f"no PriorityClass with name {name} was found")
        return found

    async def validate(self, attributes: AdmissionAttributes) -> None:
        new = attributes.obj
        if new is None or not is_for(attributes, "priorityclasses", "CREATE", "UPDATE", group=_GROUP):
            return
        if not new.get("globalDefault"):
            return
        for name, other in sorted(self._classes.of().items()):
            if other.get("globalDefault") and name != attributes.name:
                detail = f"PriorityClass {name} is already marked as default. Only one default can exist"
                raise refuse(attributes, detail)
