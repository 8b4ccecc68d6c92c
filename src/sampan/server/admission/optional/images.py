"""AlwaysPullImages: who has no right to an image cannot use the one that somebody else's pod brought to the node."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api import errors
from sampan.api.pods.containers import FIELDS
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.attributes import AdmissionAttributes


class AlwaysPullImages(Plugin):
    name = "AlwaysPullImages"
    resources = frozenset({("", "pods")})

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not _brings_images(attributes):
            return
        for _, holder, key in _pulled(attributes.obj):
            holder[key] = "Always"

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not _brings_images(attributes):
            return
        for path, holder, key in _pulled(attributes.obj):
            if holder.get(key) != "Always":
                raise refuse(attributes, errors.not_supported(path, text(holder, key), ("Always",)).message())


def _brings_images(attributes: AdmissionAttributes) -> bool:
    """A new pod, or a change that names an image the pod did not have."""
    if is_for(attributes, "pods", "CREATE"):
        return True
    if not is_for(attributes, "pods", "UPDATE"):
        return False
    return bool(_images(attributes.obj) - _images(attributes.old))


def _images(pod: Obj | None) -> set[str]:
    spec = part(pod, "spec")
    return {text(container, "image") for field in FIELDS.values() for container in parts(spec, field)}


def _pulled(pod: Obj) -> Iterator[tuple[str, Obj, str]]:
    """What names an image: its path, and where its policy stands."""
    spec = part(pod, "spec")
    for field in FIELDS.values():
        for index, container in enumerate(parts(spec, field)):
            yield f"spec.{field}[{index}].imagePullPolicy", container, "imagePullPolicy"
    for index, volume in enumerate(parts(spec, "volumes")):
        if isinstance(volume.get("image"), dict):
            yield f"spec.volumes[{index}].image.pullPolicy", volume["image"], "pullPolicy"
