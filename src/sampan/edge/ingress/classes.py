"""Whose an Ingress is: by class, annotation, or as the default. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sampan.api.reading import part, text
from sampan.api.types import Obj

CONTROLLER = "sampan.io/ingress"
CLASS = "sampan"
ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT = "ingressclass.kubernetes.io/is-default-class"


class Classes:
    """The classes of a cluster. ``also``: names that are ours though no IngressClass has them ("nginx")."""

    def __init__(self, classes: Iterable[Obj], also: Collection[str] = ()) -> None:
        self.known: set[str] = set()
        self.ours: set[str] = set(also)
        self.default = False
        for each in classes:
            name = each["metadata"]["name"]
            self.known.add(name)
            if text(part(each, "spec"), "controller") != CONTROLLER:
                self.ours.discard(name)
                continue
            self.ours.add(name)
            annotations = each["metadata"].get("annotations") or {}
            self.default |= annotations.get(DEFAULT) == "true"

    def has(self, ingress: Obj) -> bool:
        name = class_of(ingress)
        return self.default if name is None else name in self.ours

    def nobodys(self, ingress: Obj) -> str:
        """The class that it names and nobody has; "": there is one, or it names none."""
        name = text(part(ingress, "spec"), "ingressClassName")
        return name if name and name not in self.known and name not in self.ours else ""


def class_of(ingress: Obj) -> str | None:
    """None: it names none. The field goes before the annotation."""
    spec = part(ingress, "spec")
    if spec.get("ingressClassName") is not None:
        return text(spec, "ingressClassName")
    annotation = (ingress["metadata"].get("annotations") or {}).get(ANNOTATION)
    return annotation if isinstance(annotation, str) else None
