"""Where the pods of a namespace may go: PodNodeSelector and LimitPodHardAntiAffinityTopology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from sampan.api import names
from sampan.api.reading import part, parts, text, text_map
from sampan.api.resources import NAMESPACES
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.admission.fields import Fields
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ObjectReader

_SELECTOR_ANNOTATION: Final = "scheduler.alpha.kubernetes.io/node-selector"
_HOSTNAME: Final = "kubernetes.io/hostname"
_DEFAULT: Final = "clusterDefaultNodeSelector"


@dataclass(frozen=True, slots=True)
class NodeSelectors:
    """``allowed`` by namespace: what its pods may select at all; without an entry, anything."""

    default: Mapping[str, str] = field(default_factory=dict)
    allowed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def parse_labels(written: str) -> dict[str, str]:
    """``a=b,c=d``. Raises ValueError."""
    found: dict[str, str] = {}
    for pair in filter(None, (piece.strip() for piece in written.split(","))):
        key, mark, value = (piece.strip() for piece in pair.partition("="))
        if not mark or names.qualified_name(key) or names.label_value(value):
            raise ValueError("must be labels, written as key=value,key=value")
        found[key] = value
    return found


def read(config: Fields) -> NodeSelectors:
    """The plugin's own form of file: below ``podNodeSelectorPluginConfig``, labels by name of a namespace.

    Raises ConfigurationError.
    """
    fields = config.below("podNodeSelectorPluginConfig")
    default = fields.parsed(_DEFAULT, parse_labels, "")
    allowed = {namespace: fields.parsed(namespace, parse_labels, "") for namespace in fields.left()}
    fields.finish()
    config.finish()
    return NodeSelectors(default, allowed)


class PodNodeSelector(Plugin):
    name = "PodNodeSelector"
    resources = frozenset({("", "pods")})

    def __init__(self, reader: ObjectReader, selectors: NodeSelectors | None = None) -> None:
        self._reader, self._selectors = reader, selectors or NodeSelectors()

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "pods", "CREATE"):
            return
        spec = attributes.obj.get("spec")
        if not isinstance(spec, dict):
            return  # validation's to say
        wanted = await self._of_namespace(attributes)
        own = text_map(spec, "nodeSelector")
        if _conflict(wanted, own):
            raise refuse(attributes, "pod node label selector conflicts with its namespace node label selector")
        if wanted:
            spec["nodeSelector"] = {**wanted, **own}

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "pods", "CREATE"):
            return
        own = text_map(part(attributes.obj, "spec"), "nodeSelector")
        if _conflict(await self._of_namespace(attributes), own):
            raise refuse(attributes, "pod node label selector conflicts with its namespace node label selector")
        allowed = self._selectors.allowed.get(attributes.namespace, {})
        if allowed and any(allowed.get(key) != value for key, value in own.items()):
            raise refuse(attributes, "pod node label selector labels conflict with its namespace whitelist")

    async def _of_namespace(self, attributes: AdmissionAttributes) -> Mapping[str, str]:
        namespace = await found_namespace(self._reader, attributes)
        written = text_map(part(namespace, "metadata"), "annotations").get(_SELECTOR_ANNOTATION)
        if written is None:
            return self._selectors.default
        try:
            return parse_labels(written)
        except ValueError as error:
            raise refuse(attributes, f"the annotation {_SELECTOR_ANNOTATION} of its namespace {error}") from error


async def found_namespace(reader: ObjectReader, attributes: AdmissionAttributes) -> Obj:
    """That of the write. Raises Forbidden: there is none to ask."""
    found = reader.get(NAMESPACES, None, attributes.namespace)
    if found is None:
        found = await reader.fresh(NAMESPACES, None, attributes.namespace)
    if found is None:
        raise refuse(attributes, f'namespace "{attributes.namespace}" not found')
    return found


def _conflict(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return any(other.get(key, value) != value for key, value in one.items())


class LimitPodHardAntiAffinityTopology(Plugin):
    """A pod may keep others from its node, not from a zone."""

    name = "LimitPodHardAntiAffinityTopology"
    resources = frozenset({("", "pods")})

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "pods", "CREATE", "UPDATE"):
            return
        anti = part(part(part(attributes.obj, "spec"), "affinity"), "podAntiAffinity")
        for term in parts(anti, "requiredDuringSchedulingIgnoredDuringExecution"):
            key = text(term, "topologyKey")
            if key != _HOSTNAME:
                raise refuse(
                    attributes,
                    f"affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {_HOSTNAME} "
                    "is allowed",
                )
