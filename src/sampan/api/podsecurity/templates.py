"""Where the pod is in an object that is judged, and which changes of a pod matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sampan.api.podsecurity.baseline import SECCOMP_CONTAINER_ANNOTATION, SECCOMP_POD_ANNOTATION
from sampan.api.reading import part, parts, text, text_map
from sampan.api.types import Obj

_TEMPLATE = ("spec", "template")
#: (group, plural) to the path of the pod template
TEMPLATES: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): _TEMPLATE,
    ("apps", "daemonsets"): _TEMPLATE,
    ("apps", "deployments"): _TEMPLATE,
    ("apps", "replicasets"): _TEMPLATE,
    ("apps", "statefulsets"): _TEMPLATE,
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
    ("batch", "jobs"): _TEMPLATE,
}


def template_of(resource: tuple[str, str], obj: Obj) -> Obj | None:
    """The pod template of a workload; None: it has none."""
    found = obj
    for key in TEMPLATES[resource]:
        found = part(found, key)
    return found or None


def is_significant(new: Obj, old: Obj) -> bool:
    """Whether an update of a pod changes anything that a check looks at: of what may change, only images, containers
    that are added and the old annotations of seccomp."""
    notes, old_notes = (text_map(part(pod, "metadata"), "annotations") for pod in (new, old))
    if notes.get(SECCOMP_POD_ANNOTATION, "") != old_notes.get(SECCOMP_POD_ANNOTATION, ""):
        return True

    def changed(container: Obj, before: Obj) -> bool:
        key = SECCOMP_CONTAINER_ANNOTATION + text(container, "name")
        other_image = text(container, "image") != text(before, "image")
        return other_image or notes.get(key, "") != old_notes.get(key, "")

    for field in ("containers", "initContainers"):
        now, then = (list(parts(part(pod, "spec"), field)) for pod in (new, old))
        if len(now) != len(then) or any(changed(*pair) for pair in zip(now, then, strict=True)):
            return True
    before = {text(one, "name"): one for one in parts(part(old, "spec"), "ephemeralContainers")}
    for container in parts(part(new, "spec"), "ephemeralContainers"):
        there = before.get(text(container, "name"))
        if there is None or changed(container, there):
            return True
    return False
