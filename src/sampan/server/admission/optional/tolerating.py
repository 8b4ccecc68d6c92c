"""What the pods of a namespace tolerate: PodTolerationRestriction and ExtendedResourceToleration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from sampan.api.pods.qos import compute_qos_class
from sampan.api.reading import part, parts, text, text_map, whole
from sampan.api.types import Obj
from sampan.api.validation.resources import is_extended
from sampan.records import dataclass
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.admission.fields import Fields
from sampan.server.admission.optional.placing import found_namespace
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ObjectReader
from sampan.server.threads import paced

_DEFAULTS: Final = "scheduler.alpha.kubernetes.io/defaultTolerations"
_ALLOWED: Final = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
API_GROUP: Final = "podtolerationrestriction.admission.k8s.io"
_MEMORY_PRESSURE: Final = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}


_FEW, _MOST = 30, 300


@dataclass(frozen=True, slots=True)
class TolerationRules:
    """For namespaces that say nothing themselves."""

    default: tuple[Obj, ...] = ()
    allowed: tuple[Obj, ...] = ()


def read(config: Fields) -> TolerationRules:
    """Raises ConfigurationError."""
    config.expect_type(API_GROUP, ("v1alpha1",), "Configuration")
    rules = TolerationRules(*(tuple(map(_toleration, config.each(key))) for key in ("default", "whitelist")))
    config.finish()
    return rules


def _toleration(fields: Fields) -> Obj:
    found: Obj = {}
    for key in ("key", "operator", "value", "effect"):
        if written := fields.text(key):
            found[key] = written
    seconds = fields.whole("tolerationSeconds", -1)
    if seconds >= 0:
        found["tolerationSeconds"] = seconds
    fields.finish()
    return found


class PodTolerationRestriction(Plugin):
    name = "PodTolerationRestriction"
    resources = frozenset({("", "pods")})

    def __init__(self, reader: ObjectReader, rules: TolerationRules | None = None) -> None:
        self._reader, self._rules = reader, rules or TolerationRules()

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "pods", "CREATE", "UPDATE"):
            return
        spec = attributes.obj.get("spec")
        if not isinstance(spec, dict):
            return  # validation's to say
        tolerations = list(parts(spec, "tolerations"))
        if attributes.operation == "CREATE":
            tolerations = [*await self._listed(attributes, _DEFAULTS, self._rules.default), *tolerations]
        if compute_qos_class(attributes.obj) != "BestEffort":
            tolerations.append(dict(_MEMORY_PRESSURE))
        tolerations = await paced(_many(attributes, tolerations), merged, tolerations)
        if tolerations:
            spec["tolerations"] = tolerations

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "pods", "CREATE", "UPDATE"):
            return
        tolerations = list(parts(part(attributes.obj, "spec"), "tolerations"))
        allowed = await self._listed(attributes, _ALLOWED, self._rules.allowed) if tolerations else ()
        if allowed and not await paced(_many(attributes, tolerations), _all_within, tolerations, allowed):
            text = "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace"
            raise refuse(attributes, f"{text} whitelist")

    async def _listed(
        self, attributes: AdmissionAttributes, annotation: str, otherwise: Sequence[Obj]
    ) -> Sequence[Obj]:
        """What the namespace says in JSON. Raises Forbidden: nobody can read it."""
        namespace = await found_namespace(self._reader, attributes)
        written = text_map(part(namespace, "metadata"), "annotations").get(annotation)
        if written is None:
            return otherwise
        try:
            found = orjson.loads(written) if written else []
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise refuse(attributes, f"the annotation {annotation} of its namespace is no list of tolerations")
        _many(attributes, found)
        return found


def _many(attributes: AdmissionAttributes, tolerations: Sequence[Obj]) -> bool:
    """Whether they are for a thread: each is compared with each. Raises Forbidden: they are too many for that."""
    if len(tolerations) > _MOST:
        raise refuse(attributes, f"{len(tolerations)} tolerations are more than the {_MOST} that can be compared")
    return len(tolerations) > _FEW


def _all_within(tolerations: Sequence[Obj], allowed: Sequence[Obj]) -> bool:
    return all(any(contains(one, toleration) for one in allowed) for toleration in tolerations)


def merged(tolerations: Iterable[Obj]) -> list[Obj]:
    """Without those that another one contains; of equal ones the first stays."""
    kept: list[Obj] = []
    for toleration in tolerations:
        if not any(contains(one, toleration) for one in kept):
            kept = [one for one in kept if not contains(toleration, one)]
            kept.append(toleration)
    return kept


def contains(wide: Mapping[str, Any], narrow: Mapping[str, Any]) -> bool:
    """Whether ``wide`` tolerates all that ``narrow`` does, for as long."""
    if wide == narrow:
        return True
    operator = text(wide, "operator") or "Equal"
    if text(wide, "key") != text(narrow, "key") and (text(wide, "key") or operator != "Exists"):
        return False
    if text(wide, "effect") not in ("", text(narrow, "effect")):
        return False
    longest, seconds = whole(wide, "tolerationSeconds"), whole(narrow, "tolerationSeconds")
    if text(wide, "effect") == "NoExecute" and longest is not None and (seconds is None or seconds > longest):
        return False
    if operator == "Exists":
        return True
    return operator == (text(narrow, "operator") or "Equal") and text(wide, "value") == text(narrow, "value")


_FORM: Final = frozenset({"key", "operator", "effect"})


def _of_device(name: str) -> Obj:
    return {"key": name, "operator": "Exists", "effect": "NoSchedule"}


class ExtendedResourceToleration(Plugin):
    """Nodes with special devices may be tainted with the devices' name: who asks for one tolerates it."""

    name = "ExtendedResourceToleration"
    resources = frozenset({("", "pods")})

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "pods", "CREATE", "UPDATE"):
            return
        spec = attributes.obj.get("spec")
        if not isinstance(spec, dict):
            return  # validation's to say
        asked = {
            name
            for field in ("containers", "initContainers")
            for container in parts(spec, field)
            for name in part(part(container, "resources"), "requests")
            if is_extended(name)
        }
        present = list(parts(spec, "tolerations"))
        tolerated = {text(one, "key") for one in present if one.keys() == _FORM and one == _of_device(one["key"])}
        if added := [_of_device(name) for name in sorted(asked) if name not in tolerated]:
            spec["tolerations"] = [*present, *added]
