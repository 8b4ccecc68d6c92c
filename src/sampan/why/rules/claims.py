"""PersistentVolumeClaims that wait for a volume, for more room, or for other attributes."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api import quantity
from sampan.api.objects import is_deleting
from sampan.api.pods.status import is_terminal
from sampan.api.reading import part, text, texts
from sampan.api.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
    VOLUME_ATTRIBUTES_CLASSES,
)
from sampan.api.storage.claims import PROVISIONER, annotation
from sampan.api.storage.volumes import LOCAL_PATH
from sampan.api.types import Obj
from sampan.why import fit
from sampan.why.fixes import manifest
from sampan.why.model import Action, Cause, Fix, Lead, ref_of
from sampan.why.near import nearest
from sampan.why.states import condition_of
from sampan.why.table import Found, rule
from sampan.why.world import World

_CURRENT = "currentVolumeAttributesClassName"
_DEFAULT = "storageclass.kubernetes.io/is-default-class"


def _pending(claim: Obj) -> bool:
    """Without a volume: of a claim that has one, though its status does not say so, no data is to be lost."""
    known = text(part(claim, "status"), "phase")
    return (known == "Pending" or (not known and not text(part(claim, "spec"), "volumeName"))) and not is_deleting(
        claim
    )


def _classes(world: World) -> tuple[list[str], list[str]]:
    """(all, those that are the default)."""
    found = world.all(STORAGE_CLASSES)
    names = [text(part(each, "metadata"), "name") for each in found]
    default = [
        text(part(each, "metadata"), "name")
        for each in found
        if text(part(part(each, "metadata"), "annotations"), _DEFAULT) == "true"
    ]
    return names, default


def _replaced(claim: Obj, words: str, name: str) -> Fix:
    """A claim that is not bound yet is made anew: its class cannot be changed."""
    made = manifest(PERSISTENT_VOLUME_CLAIMS, claim)
    made["spec"]["storageClassName"] = name
    made["spec"].pop("volumeName", None)
    annotations = part(made["metadata"], "annotations")
    for key in [each for each in annotations if each.startswith(("pv.kubernetes.io/", "volume.kubernetes.io/"))]:
        del annotations[key]
    made["metadata"].pop("finalizers", None)
    return Fix(words, (Action("replace", ref_of(PERSISTENT_VOLUME_CLAIMS, claim), made),))


@rule("claim-class", PERSISTENT_VOLUME_CLAIMS, says="its StorageClass")
def storage_class(world: World, claim: Obj) -> Found:
    name = text(part(claim, "spec"), "storageClassName")
    if not _pending(claim) or not name or not world.absent(STORAGE_CLASSES, name):
        return
    names, default = _classes(world)
    if _fitting(world, claim):
        return
    meant = (*nearest(name, names), *default, *names)
    fix = Fix(f"create the StorageClass {name}")
    if meant:
        fix = _replaced(claim, f"ask for the class {meant[0]}", meant[0])
    yield Cause(
        f"{ref_of(PERSISTENT_VOLUME_CLAIMS, claim).place} gets no volume: there is no StorageClass {name}.",
        (f"there are {', '.join(names) or 'none'}",),
        fix,
        rank=1,
    )


@rule("claim-no-class", PERSISTENT_VOLUME_CLAIMS, says="whether a class makes volumes for it")
def no_class(world: World, claim: Obj) -> Found:
    spec = part(claim, "spec")
    if not _pending(claim) or text(spec, "storageClassName") or text(spec, "volumeName") or _fitting(world, claim):
        return
    names, default = _classes(world)
    said = "its storageClassName is empty, which asks for a volume that is there" if "storageClassName" in spec else ""
    fix = Fix("create a PersistentVolume, or a StorageClass that makes volumes")
    if default or names:
        fix = _replaced(claim, f"ask for the class {(*default, *names)[0]}", (*default, *names)[0])
    yield Cause(
        f"{ref_of(PERSISTENT_VOLUME_CLAIMS, claim).place} gets no volume: it names no StorageClass, "
        + ("and no PersistentVolume fits it." if said or default else "and none is the default."),
        (*((said,) if said else ()), f"classes: {', '.join(names) or 'none'}"),
        fix,
        rank=1,
    )


def _fitting(world: World, claim: Obj) -> bool:
    """Whether there is a volume that it may be bound to."""
    return any(not why for _, why in _misfits(world, claim))


def _misfits(world: World, claim: Obj) -> Iterator[tuple[Obj, str]]:
    """Each volume that is free, and why the claim may not have it ("": it may)."""
    spec = part(claim, "spec")
    wanted = text(part(part(spec, "resources"), "requests"), "storage") or "0"
    modes = set(texts(spec, "accessModes"))
    for volume in world.all(PERSISTENT_VOLUMES):
        own = part(volume, "spec")
        if part(own, "claimRef") or text(part(volume, "status"), "phase") not in ("Available", "Pending", ""):
            continue
        why = ""
        if text(own, "storageClassName") != text(spec, "storageClassName"):
            why = f"is of class {text(own, 'storageClassName') or 'none'}"
        elif quantity.compare(text(part(own, "capacity"), "storage") or "0", wanted) < 0:
            why = f"has {text(part(own, 'capacity'), 'storage')}"
        elif not modes <= set(texts(own, "accessModes")):
            why = f"allows {', '.join(texts(own, 'accessModes'))}"
        yield volume, why


@rule("claim-volume", PERSISTENT_VOLUME_CLAIMS, says="the volume that it names")
def named_volume(world: World, claim: Obj) -> Found:
    name, ref = text(part(claim, "spec"), "volumeName"), ref_of(PERSISTENT_VOLUME_CLAIMS, claim)
    if not name or is_deleting(claim):
        return
    volume = world.get(PERSISTENT_VOLUMES, name)
    phase = text(part(claim, "status"), "phase")
    if phase == "Lost" or (volume is None and world.absent(PERSISTENT_VOLUMES, name)):
        yield Cause(
            f"{ref.place} is lost: the PersistentVolume {name} that it is bound to does not exist"
            + (" any more." if phase == "Lost" else "."),
            ("what was on it is gone, unless the storage behind it was kept",),
            Fix("restore the volume, or make the claim anew"),
            rank=0,
        )
    elif volume is not None and phase == "Pending":
        other = part(part(volume, "spec"), "claimRef")
        if other and (text(other, "namespace"), text(other, "name")) != (ref.namespace, ref.name):
            yield Cause(
                f"{ref.place} waits for volume {name}, which is bound to claim "
                f"{text(other, 'namespace')}/{text(other, 'name')}.",
                (f"the volume is {text(part(volume, 'status'), 'phase')}",),
                _replaced(claim, "ask for another volume", text(part(claim, "spec"), "storageClassName")),
                rank=1,
            )


@rule("claim-no-provisioner", PERSISTENT_VOLUME_CLAIMS, says="who makes volumes of its class")
def provisioner(world: World, claim: Obj) -> Found:
    name = text(part(claim, "spec"), "storageClassName")
    found = world.get(STORAGE_CLASSES, name) if name and _pending(claim) else None
    if found is None or _fitting(world, claim):
        return
    who, ref = text(found, "provisioner"), ref_of(PERSISTENT_VOLUME_CLAIMS, claim)
    events = world.events_of(PERSISTENT_VOLUME_CLAIMS, claim)
    failed = next((text(each, "message") for each in events if text(each, "reason") == "ProvisioningFailed"), "")
    waits = any(text(each, "reason") == "ExternalProvisioning" for each in events)
    misfits = [f"volume {text(part(volume, 'metadata'), 'name')} {why}" for volume, why in _misfits(world, claim)]
    if who == "kubernetes.io/no-provisioner":
        if text(found, "volumeBindingMode") == "WaitForFirstConsumer" and not _users(world, claim):
            return
        yield Cause(
            f"{ref.place} gets no volume: nobody makes volumes of class {name}, and none that is there fits.",
            tuple(misfits[:5]) or (f"there is no free PersistentVolume of class {name}",),
            Fix("create a PersistentVolume that fits, or ask for a class that makes them"),
            rank=1,
        )
    elif failed:
        yield Cause(
            f"{ref.place} gets no volume: making one failed.",
            (failed, f"its class is {name}, of provisioner {who}"),
            Fix("mend what the message names"),
            rank=1,
        )
    elif waits:
        _, default = _classes(world)
        fix = Fix(f"install the driver {who}")
        if default and default[0] != name:
            fix = _replaced(claim, f"install the driver {who}, or ask for the class {default[0]}", default[0])
        yield Cause(
            f"{ref.place} waits for {who}, the provisioner of class {name}, and that has not answered.",
            tuple(text(each, "message") for each in events[:1]),
            fix,
            "likely",
            rank=2,
        )


def _users(world: World, claim: Obj) -> list[Obj]:
    name, namespace = text(part(claim, "metadata"), "name"), text(part(claim, "metadata"), "namespace")
    return [pod for pod in world.all(PODS, namespace) if not is_terminal(pod) and name in fit.claims_of(pod)]


@rule("claim-first-consumer", PERSISTENT_VOLUME_CLAIMS, says="whether a pod uses it")
def first_consumer(world: World, claim: Obj) -> Found:
    name = text(part(claim, "spec"), "storageClassName")
    found = world.get(STORAGE_CLASSES, name) if name and _pending(claim) else None
    if found is None or text(found, "volumeBindingMode") != "WaitForFirstConsumer":
        return
    ref = ref_of(PERSISTENT_VOLUME_CLAIMS, claim)
    users = _users(world, claim)
    if not users:
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"use-{ref.name}", "namespace": ref.namespace},
            "spec": {
                "containers": [{"name": "c", "image": "registry.k8s.io/pause:3.10"}],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": ref.name}}],
            },
        }  # fmt: skip
        yield Cause(
            f"{ref.place} waits for a pod that uses it: its class {name} makes a volume only where it is needed.",
            (f"volumeBindingMode of class {name} is WaitForFirstConsumer", "no pod mounts the claim"),
            Fix("start the pod that is to use it, as", (Action("create", ref_of(PODS, pod), pod),)),
            rank=2,
        )
    for each in users[:1]:
        yield Lead(ref_of(PODS, each), "is mounted by")


@rule("claim-growth", PERSISTENT_VOLUME_CLAIMS, says="whether it grows")
def growth(world: World, claim: Obj) -> Found:
    spec, status = part(claim, "spec"), part(claim, "status")
    wanted = text(part(part(spec, "resources"), "requests"), "storage")
    has = text(part(status, "capacity"), "storage")
    if text(status, "phase") != "Bound" or not wanted or not has or quantity.compare(has, wanted) >= 0:
        return
    ref = ref_of(PERSISTENT_VOLUME_CLAIMS, claim)
    said = [
        f"condition {kind}: {text(found, 'message') or 'True'}"
        for kind in ("Resizing", "FileSystemResizePending", "ControllerResizeError", "NodeResizeError")
        if (found := condition_of(claim, kind)).get("status") == "True"
    ]
    failed = [
        text(each, "message")
        for each in world.events_of(PERSISTENT_VOLUME_CLAIMS, claim)
        if "Resize" in text(each, "reason") and text(each, "type") == "Warning"
    ]
    waits = any("FileSystemResizePending" in each for each in said)
    yield Cause(
        f"{ref.place} has {has} and is to have {wanted}: "
        + ("its file system grows when a pod mounts it." if waits else "its volume has not grown yet."),
        (*said, *failed[:1]) or ("nobody has begun to grow it",),
        Fix("start the pod that uses it" if waits else "see that the driver of its class can grow volumes"),
        "certain" if said or failed else "likely",
        rank=3,
    )


@rule("claim-attributes", PERSISTENT_VOLUME_CLAIMS, says="whether its volume gets the attributes of another class")
def attributes(world: World, claim: Obj) -> Found:
    status = part(claim, "status")
    name = text(part(claim, "spec"), "volumeAttributesClassName")
    tried = part(status, "modifyVolumeStatus")
    state, target = text(tried, "status"), text(tried, "targetVolumeAttributesClassName") or name
    if text(status, "phase") != "Bound" or not target or (not state and name == text(status, _CURRENT)):
        return
    ref = ref_of(PERSISTENT_VOLUME_CLAIMS, claim)
    failed = text(condition_of(claim, "ModifyVolumeError"), "message")
    said = [f"modifyVolumeStatus is {state} for class {target}"] if state else ["nobody has begun to change it"]
    said += [f"condition ModifyVolumeError: {failed}"] if failed else []
    local = annotation(claim, PROVISIONER) == LOCAL_PATH
    if local:
        words = f"volumes of {LOCAL_PATH} have no attributes, so the VolumeAttributesClass {target} changes nothing."
        fix = "keep the data on a volume of another StorageClass, whose driver can change volumes (MODIFY_VOLUME)"
    elif world.absent(VOLUME_ATTRIBUTES_CLASSES, target):
        words = f"the VolumeAttributesClass {target} does not exist."
        fix = f"create the VolumeAttributesClass {target}, or name one that there is"
    elif state == "Infeasible":
        words = f"its driver does not take what the VolumeAttributesClass {target} says."
        fix = "name another VolumeAttributesClass: parameters of one that is there cannot be changed"
    else:
        words = f"its driver has not given it the attributes of class {target} yet."
        fix = "see that the resizer of its driver runs, and that the driver can change volumes (MODIFY_VOLUME)"
    certain = local or state in ("Pending", "Infeasible") or failed
    yield Cause(f"{ref.place}: {words}", tuple(said), Fix(fix), "certain" if certain else "likely", rank=3)
