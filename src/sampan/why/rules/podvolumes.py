"""Volumes of pods that have a node, and cannot be mounted there."""

from __future__ import annotations

import re
from typing import Final

from sampan.api.objects import is_deleting
from sampan.api.pods.status import is_terminal, node_name
from sampan.api.reading import part, parts, text
from sampan.api.resources import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS
from sampan.api.types import Obj
from sampan.why import fit
from sampan.why.model import Cause, Fix, Lead, Ref, ref_of
from sampan.why.rules.containers import missing
from sampan.why.table import Found, rule
from sampan.why.world import World

_OBJECT: Final = re.compile(r'(configmap|secret) "([^"]+)" not found')
_REASONS: Final = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")


def _starts(pod: Obj) -> bool:
    """It has a node, and no container of it has run."""
    if not node_name(pod) or is_terminal(pod) or is_deleting(pod):
        return False
    statuses = parts(part(pod, "status"), "containerStatuses")
    return not any("running" in part(each, "state") or part(each, "lastState") for each in statuses)


@rule("volume-source", PODS, says="ConfigMaps and Secrets that are volumes")
def source(world: World, pod: Obj) -> Found:
    if not _starts(pod):
        return
    namespace, ref = text(part(pod, "metadata"), "namespace"), ref_of(PODS, pod)
    for volume in parts(part(pod, "spec"), "volumes"):
        listed = [volume, *parts(part(volume, "projected"), "sources")]
        for each in listed:
            for field, key, resource in (("configMap", "name", CONFIG_MAPS), ("secret", "secretName", SECRETS)):
                holder = part(each, field)
                name = text(holder, key) or text(holder, "name")
                if not name or holder.get("optional") or text(volume, "name").startswith("kube-api-access-"):
                    continue
                keys = [text(item, "key") for item in parts(holder, "items")]
                target = Ref(resource, name, namespace)
                if world.absent(resource, name, namespace):
                    said = f"volume {text(volume, 'name')} of the pod is made of it"
                    yield missing(world, ref, "its containers", target, keys, said)
                elif (there := world.get(resource, name, namespace)) is not None:
                    lacking = [
                        key for key in keys if key not in part(there, "data") and key not in part(there, "binaryData")
                    ]
                    if lacking:
                        from sampan.why.model import Action

                        data = "data" if resource == CONFIG_MAPS else "stringData"
                        yield Cause(
                            f"{ref.place} cannot start: the {resource.kind} {name} has no key {lacking[0]}, which its "
                            f"volume {text(volume, 'name')} asks for.",
                            (f"it has {', '.join(sorted(part(there, 'data'))) or 'no keys'}",),
                            Fix(
                                "add the key, with the value that it needs",
                                (Action("patch", target, {data: dict.fromkeys(lacking, "")}),),
                            ),
                            rank=4,
                        )


@rule("claim-of-started-pod", PODS, says="claims of a pod that has a node")
def claim(world: World, pod: Obj) -> Found:
    if not _starts(pod):
        return
    namespace = text(part(pod, "metadata"), "namespace")
    for name in fit.claims_of(pod):
        found = world.get(PERSISTENT_VOLUME_CLAIMS, name, namespace)
        if found is not None and text(part(found, "status"), "phase") != "Bound":
            yield Lead(ref_of(PERSISTENT_VOLUME_CLAIMS, found), "mounts")


@rule("mount", PODS, says="whether its volumes can be mounted")
def mount(world: World, pod: Obj) -> Found:
    if not _starts(pod):
        return
    for event in world.events_of(PODS, pod):
        said = text(event, "message")
        if text(event, "reason") in _REASONS and not _OBJECT.search(said):
            yield Cause(
                f"{ref_of(PODS, pod).place} cannot start: a volume of it cannot be "
                f"{'attached to' if 'Attach' in text(event, 'reason') else 'mounted on'} node {node_name(pod)}.",
                (said,),
                Fix("mend what the message names; `sampan csi` shows the drivers of the cluster"),
                rank=6,
            )
            return
