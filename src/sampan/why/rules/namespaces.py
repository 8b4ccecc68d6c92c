"""Namespaces that are being deleted and do not go: which objects are left, and who holds them."""

from __future__ import annotations

import re
from typing import Final

from sampan.api.objects import is_deleting
from sampan.api.reading import part, parts, text, texts
from sampan.api.resources import API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Resource
from sampan.api.types import Obj
from sampan.why.model import Action, Cause, Fix, Lead, Ref, ref_of
from sampan.why.rules.deletion import OF_THE_CLUSTER
from sampan.why.states import condition_of
from sampan.why.subjects import kind_named
from sampan.why.table import Found, rule
from sampan.why.world import World

_LEFT: Final = re.compile(r"([a-z0-9.-]+) has (\d+) resource instances")
_SHOWN: Final = 5


@rule("namespace-content", NAMESPACES, says="objects that are left in a namespace that is deleted")
def content(world: World, namespace: Obj) -> Found:
    found = condition_of(namespace, "NamespaceContentRemaining")
    held = condition_of(namespace, "NamespaceFinalizersRemaining")
    if not is_deleting(namespace) or found.get("status") != "True":
        return
    ref = ref_of(NAMESPACES, namespace)
    left: list[str] = []
    actions: list[Action] = []
    for plural, _ in _LEFT.findall(text(found, "message")):
        resource = kind_named(plural.rstrip(".")) or _defined(world, plural)
        if resource is None:
            left.append(f"objects of {plural}")
            continue
        for obj in world.all(resource, ref.name):
            meta = part(obj, "metadata")
            names = ", ".join(texts(meta, "finalizers"))
            left.append(f"{resource.kind.lower()}/{text(meta, 'name')}" + (f" (finalizer {names})" if names else ""))
            finalizers = list(texts(meta, "finalizers"))
            kept = [name for name in finalizers if name in OF_THE_CLUSTER]
            if len(kept) < len(finalizers):
                body = {"metadata": {"finalizers": kept or None}}
                actions.append(Action("patch", Ref(resource, text(meta, "name"), ref.name), body))
    shown = ", ".join(left[:_SHOWN]) + (f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else "")
    yield Cause(
        f"{ref.place} cannot go: {shown or text(found, 'message')} {'is' if len(left) == 1 else 'are'} left in it.",
        (text(found, "message"), *((text(held, "message"),) if held.get("status") == "True" else ())),
        Fix(
            "start the program that takes the finalizers away; if it is gone for good, take them away"
            if actions
            else "wait, or see what keeps them: `sampan why` says it of each",
            tuple(actions[:20]),
            "what those programs keep outside of the cluster is then not cleaned up, and nobody remembers it"
            if actions
            else "",
        ),
        rank=0,
    )


@rule("namespace-discovery", NAMESPACES, says="whether all of its kinds can be listed")
def discovery(world: World, namespace: Obj) -> Found:
    found = condition_of(namespace, "NamespaceDeletionDiscoveryFailure")
    if not is_deleting(namespace) or found.get("status") != "True":
        return
    away = [each for each in world.all(API_SERVICES) if condition_of(each, "Available").get("status") == "False"]
    ref = ref_of(NAMESPACES, namespace)
    names = ", ".join(text(part(each, "metadata"), "name") for each in away) or "an aggregated API"
    yield Cause(
        f"{ref.place} cannot go: what {names} serves cannot be listed, so nobody knows whether anything is left.",
        (text(found, "message"),),
        Fix(
            "bring that API server back; if it is gone for good, delete its APIService",
            tuple(Action("delete", ref_of(API_SERVICES, each)) for each in away),
            "its kinds are gone for everybody, and what it holds of the namespace stays with it",
        ),
        rank=-1,
    )
    for each in away:
        yield Lead(ref_of(API_SERVICES, each), "needs")


@rule("namespace-finalizer", NAMESPACES, says="finalizers of the namespace itself")
def own_finalizer(world: World, namespace: Obj) -> Found:
    meta, spec = part(namespace, "metadata"), part(namespace, "spec")
    if not is_deleting(namespace):
        return
    ref = ref_of(NAMESPACES, namespace)
    own = [*texts(meta, "finalizers"), *(name for name in texts(spec, "finalizers") if name != "kubernetes")]
    if own:
        yield Cause(
            f"{ref.place} cannot go: its finalizer {', '.join(own)} holds it.",
            (f"deleted at {text(meta, 'deletionTimestamp')}",),
            Fix(
                "start the program that set it; if that is gone for good, take the finalizer away",
                (Action("patch", ref, {"metadata": {"finalizers": None}}),) if any(texts(meta, "finalizers")) else (),
                "what that program keeps outside of the cluster is then not cleaned up"
                if any(texts(meta, "finalizers"))
                else "",
            ),
            rank=1,
        )


def _defined(world: World, plural: str) -> Resource | None:
    """Of a custom resource: ``widgets.example.com``."""
    found = world.get(CUSTOM_RESOURCE_DEFINITIONS, plural.rstrip("."))
    if found is None:
        return None
    spec = part(found, "spec")
    version = next((text(each, "name") for each in parts(spec, "versions") if each.get("served")), "")
    names = part(spec, "names")
    return Resource(text(spec, "group"), version, text(names, "plural"), text(names, "kind"), True)
