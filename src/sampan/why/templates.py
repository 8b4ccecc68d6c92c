"""Where a pod's fields are written: in the template of whoever made it, or in itself; and how to change them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from sampan.api import labels as selectors
from sampan.api.objects import annotations as annotations_of
from sampan.api.objects import controller_of, deep_copy, get_path, is_controlled_by
from sampan.api.reading import part, text
from sampan.api.resources import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    Resource,
)
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.why.fixes import manifest, pod_manifest
from sampan.why.model import Action, Fix, Ref, ref_of
from sampan.why.world import World

OWNERS: Final = {
    each.kind: each
    for each in (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, JOBS, CRON_JOBS, REPLICATION_CONTROLLERS)
}
WORKLOADS: Final = tuple(OWNERS.values())
_TEMPLATE: Final = ("spec", "template")
_OF_CRON_JOB: Final = ("spec", "jobTemplate", "spec", "template")
#: what the Job controller fills in
_JOB_LABELS: Final = (
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "job-name",
    "batch.kubernetes.io/job-name",
)
_MOST_OWNERS: Final = 4
REVISION: Final = "deployment.kubernetes.io/revision"

Edit = Callable[[Obj], None]


@dataclass(frozen=True, slots=True)
class Holder:
    """``path``: to the pod template in ``obj``; (): it is the pod. ``pod``: the one that is, if any."""

    resource: Resource
    obj: Obj
    path: tuple[str, ...]
    pod: Obj | None = None

    @property
    def ref(self) -> Ref:
        return ref_of(self.resource, self.obj)

    @property
    def template(self) -> Obj:
        found: Obj = get_path(self.obj, *self.path, default={}) if self.path else self.obj
        return found


def owner_of(world: World, obj: Obj) -> tuple[Resource, Obj] | None:
    """Whoever controls the object, if it is of a kind that has pods made."""
    owner = controller_of(obj)
    resource = OWNERS.get(str(owner["kind"])) if owner is not None else None
    if owner is None or resource is None:
        return None
    found = world.get(resource, owner["name"], text(part(obj, "metadata"), "namespace"))
    return (resource, found) if found is not None else None


def top_of(world: World, resource: Resource, obj: Obj) -> tuple[Resource, Obj]:
    """The object itself, or whoever controls it last."""
    for _ in range(_MOST_OWNERS):
        above = owner_of(world, obj)
        if above is None:
            break
        resource, obj = above
    return resource, obj


def holder(world: World, resource: Resource, obj: Obj) -> Holder:
    top, owner = top_of(world, resource, obj)
    pod = obj if resource == PODS else None
    if top == PODS:
        return Holder(PODS, obj, (), obj)
    return Holder(top, owner, _OF_CRON_JOB if top == CRON_JOBS else _TEMPLATE, pod)


def change(held: Holder, text_: str, edit: Edit) -> Fix:
    """``edit`` changes a template (``metadata``, ``spec``) in place; so does the fix, for good. A pod that nobody makes
    anew, and a Job, whose template stays as it is, are replaced."""
    if held.resource == PODS and (elsewhere := _written_elsewhere(held.obj)):
        return Fix(f"{text_}; {elsewhere}")
    if held.resource == PODS:
        made = pod_manifest(PODS, held.obj)
        edit(made)
        return Fix(text_, (Action("replace", held.ref, made),), _ends(held.obj))
    if held.resource == JOBS:
        made = manifest(JOBS, held.obj)
        made["spec"].pop("selector", None)
        for name in _JOB_LABELS:
            for labels in (
                part(made["metadata"], "labels"),
                part(part(made["spec"]["template"], "metadata"), "labels"),
            ):
                labels.pop(name, None)
        edit(made["spec"]["template"])
        return Fix(text_, (Action("replace", held.ref, made),), "the Job's pods end, and it begins anew")
    edited = deep_copy(held.template)
    edit(edited)
    prefix = "".join(f"/{each}" for each in held.path)
    actions = [Action("json", held.ref, list(difference(held.template, edited, prefix)))]
    if held.pod is not None and held.resource != DEPLOYMENTS:
        # None of these makes a pod anew that is not ready yet.
        actions.append(Action("delete", ref_of(PODS, held.pod)))
    return Fix(text_, tuple(actions))


_MIRROR: Final = "kubernetes.io/config.mirror"


def _written_elsewhere(pod: Obj) -> str:
    """Where to change a pod that somebody else makes, whom no rule knows (or who could not be read); "": it is its own.
    Made anew by hand, it would stand beside the one that its maker makes."""
    name = text(part(pod, "spec"), "nodeName")
    if _MIRROR in annotations_of(pod):
        return f"it is a static pod: change its file on node {name}"
    owner = controller_of(pod)
    return f"change that in {owner['kind']} {owner['name']}, which makes the pod" if owner is not None else ""


def _ends(pod: Obj) -> str:
    if not text(part(pod, "spec"), "nodeName"):
        return ""
    return "the pod ends and is made anew: what it keeps outside of persistent volumes is lost"


def difference(old: Any, new: Any, path: str = "") -> Iterator[Obj]:
    """A JSON Patch from one value to the other; lists of other lengths are replaced."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            at = f"{path}/{pointer(key)}"
            if key not in new:
                yield {"op": "remove", "path": at}
            elif key not in old:
                yield {"op": "add", "path": at, "value": new[key]}
            else:
                yield from difference(old[key], new[key], at)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from difference(before, after, f"{path}/{index}")
    else:
        yield {"op": "replace", "path": path, "value": new}


def pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def container_in(template: Obj, name: str) -> Obj:
    """Of a template that is edited. Raises LookupError."""
    spec = template["spec"]
    for listed in ("containers", "initContainers"):
        for each in spec.get(listed) or ():
            if each["name"] == name:
                found: Obj = each
                return found
    raise LookupError(name)


def rollback(world: World, held: Holder) -> tuple[Action, str] | None:
    """Of a Deployment: back to the template before, and which revision that is; None: there is none."""
    if held.resource != DEPLOYMENTS:
        return None
    selector = str(selectors.from_label_selector(part(held.obj, "spec").get("selector")))
    listed = world.all(REPLICA_SETS, held.ref.namespace, labels=selector)
    mine = sorted((each for each in listed if is_controlled_by(each, held.obj)), key=revision)
    if len(mine) < 2:
        return None
    before = deep_copy(part(mine[-2], "spec")["template"])
    part(before["metadata"], "labels").pop("pod-template-hash", None)
    patch = [{"op": "replace", "path": "/spec/template", "value": before}]
    return Action("json", held.ref, patch), str(revision(mine[-2]))


def revision(replica_set: Obj) -> int:
    written = annotations_of(replica_set).get(REVISION, "0")
    return int(written) if written.isdigit() else 0
