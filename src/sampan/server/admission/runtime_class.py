"""RuntimeClass: the class's overhead and scheduling constraints become the pod's."""

from __future__ import annotations

from sampan.api.objects import deep_copy
from sampan.api.reading import part, text
from sampan.api.resources import RUNTIME_CLASSES
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ObjectReader
from sampan.server.threads import paced


class RuntimeClass(Plugin):
    name = "RuntimeClass"
    resources = frozenset({("", "pods")})

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def admit(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.obj
        if pod is None or not is_for(attributes, "pods", "CREATE"):
            return
        found = await self._find(attributes, pod)
        if found is None:
            return
        overhead = part(found, "overhead").get("podFixed")
        if overhead:
            if pod["spec"].get("overhead") not in (None, {}, overhead):
                raise refuse(attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            pod["spec"]["overhead"] = dict(overhead)
        scheduling = part(found, "scheduling")
        await paced(attributes.request.heavy, _merge_scheduling, attributes, pod["spec"], scheduling)

    async def validate(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.obj
        if pod is None or not is_for(attributes, "pods", "CREATE"):
            return
        found = await self._find(attributes, pod)
        if part(pod, "spec").get("overhead") and (found is None or not found.get("overhead")):
            raise refuse(
                attributes, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )

    async def _find(self, attributes: AdmissionAttributes, pod: Obj) -> Obj | None:
        name = text(part(pod, "spec"), "runtimeClassName")
        if not name:
            return None
        found = self._reader.get(RUNTIME_CLASSES, None, name)
        found = found or await self._reader.fresh(RUNTIME_CLASSES, None, name)
        if found is None:
            raise refuse(attributes, f'pod rejected: RuntimeClass "{name}" not found')
        return found


def _merge_scheduling(attributes: AdmissionAttributes, spec: Obj, scheduling: Obj) -> None:
    selector = dict(part(spec, "nodeSelector"))
    for key, value in part(scheduling, "nodeSelector").items():
        if selector.get(key, value) != value:
            detail = (
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {selector[key]}"
            )
            raise refuse(attributes, detail)
        selector[key] = value
    if selector:
        spec["nodeSelector"] = selector
    tolerations = list(spec.get("tolerations") or ())
    missing = [deep_copy(item) for item in scheduling.get("tolerations") or () if item not in tolerations]
    if missing:
        spec["tolerations"] = [*tolerations, *missing]
