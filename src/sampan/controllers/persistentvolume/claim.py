"""What a claim needs next (upstream ``syncClaim``). Pure.

The order of binding is upstream's: the volume names the claim, the volume is Bound, the claim names the volume, the
claim is Bound. So a volume is never named by two claims, and the claim that a volume names is the one that has it.
"""

from __future__ import annotations

from sampan.api import objects
from sampan.api.storage import claims, matching, volumes
from sampan.api.types import Obj
from sampan.controllers.persistentvolume import step
from sampan.controllers.persistentvolume.step import NOTHING, Plan, note, warn
from sampan.records import dataclass

_EXTERNAL = (
    "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system "
    "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly "
    "registered."
)
#: provisioners that are not somebody's program, but part of upstream's own (``kubernetes.io/no-provisioner``)
_BUILT_IN = "kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Observed:
    """``named``: the volume of ``spec.volumeName``. ``match``: for a claim that names none, the one that it may have.
    ``storage_class``: of the claim, None: it has none, or it is not there. ``waiting``: a pod that uses the claim and
    has no node yet."""

    claim: Obj
    named: Obj | None = None
    match: Obj | None = None
    storage_class: Obj | None = None
    default_class: Obj | None = None
    waiting: str = ""


def plan_claim(seen: Observed) -> Plan:
    if claims.has_annotation(seen.claim, claims.BIND_COMPLETED):
        return _plan_bound(seen.claim, seen.named)
    if claims.volume_name(seen.claim):
        return _plan_named(seen.claim, seen.named)
    if seen.match is not None:
        return plan_bind(seen.match, seen.claim)
    return _plan_without(seen)


def _plan_bound(claim: Obj, volume: Obj | None) -> Plan:
    """It had a volume: does it still?"""
    if not claims.volume_name(claim):
        text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        return step.claim_phase(claim, "Lost", warn(claim, "ClaimLost", text))
    if volume is None:
        text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        return step.claim_phase(claim, "Lost", warn(claim, "ClaimLost", text))
    reference = volumes.claim_ref(volume)
    if reference is None or reference.get("uid") == objects.uid(claim):
        return plan_bind(volume, claim)
    text = "Two claims are bound to the same volume, this one is bound incorrectly"
    return step.claim_phase(claim, "Lost", warn(claim, "ClaimMisbound", text))


def _plan_named(claim: Obj, volume: Obj | None) -> Plan:
    """Its user, or the binder before it was interrupted, named a volume."""
    if volume is None:
        return step.claim_phase(claim, "Pending")
    if volumes.claim_ref(volume) is None:
        if problem := matching.complaint(volume, claim):
            text = f'Cannot bind to requested volume "{objects.name(volume)}": {problem}'
            return _told(step.claim_phase(claim, "Pending"), warn(claim, "VolumeMismatch", text))
        return plan_bind(volume, claim)
    if volumes.is_for(volume, claim):
        return plan_bind(volume, claim)
    text = f'volume "{objects.name(volume)}" already bound to a different claim.'
    return _told(step.claim_phase(claim, "Pending"), warn(claim, "FailedBinding", text))


def _plan_without(seen: Observed) -> Plan:
    """No volume is there for it."""
    claim = seen.claim
    if claims.says_no_class(claim) and seen.default_class is not None:
        new: Obj = objects.copy_of(claim)
        new["spec"]["storageClassName"] = objects.name(seen.default_class)
        return step.update_claim(new)
    pending = step.claim_phase(claim, "Pending")
    if claims.is_delayed(seen.storage_class) and not claims.annotation(claim, claims.SELECTED_NODE):
        if seen.waiting:
            return _told(pending, note(claim, "WaitForPodScheduled", f"waiting for pod {seen.waiting} to be scheduled"))
        text = "waiting for first consumer to be created before binding"
        return _told(pending, note(claim, "WaitForFirstConsumer", text))
    if claims.class_of(claim):
        return _plan_provisioning(claim, seen.storage_class)
    text = "no persistent volumes available for this claim and no storage class is set"
    return _told(pending, note(claim, "FailedBinding", text))


def _plan_provisioning(claim: Obj, storage_class: Obj | None) -> Plan:
    if objects.is_deleting(claim):
        return NOTHING
    if storage_class is None:
        text = f'storageclass.storage.k8s.io "{claims.class_of(claim)}" not found'
        return Plan(tells=(warn(claim, "ProvisioningFailed", text),))
    provisioner = str(storage_class.get("provisioner") or "")
    if provisioner.startswith(_BUILT_IN):
        text = f"no volume plugin matched name: {provisioner}"
        return Plan(tells=(warn(claim, "ProvisioningFailed", text),))
    wanted = {claims.PROVISIONER: provisioner, claims.BETA_PROVISIONER: provisioner}
    told = note(claim, "ExternalProvisioning", _EXTERNAL.format(provisioner))
    if all(claims.annotation(claim, key) == value for key, value in wanted.items()):
        return Plan(tells=(told,))
    new: Obj = objects.copy_of(claim)
    new["metadata"].setdefault("annotations", {}).update(wanted)
    return step.update_claim(new, told)


def plan_bind(volume: Obj, claim: Obj) -> Plan:
    """The next of the four steps that bind the two; nothing when all are done."""
    if (new := volumes.given_to(volume, claim)) is not None:
        return step.update_volume(new)
    for plan in (step.volume_phase(volume, "Bound"), _bind_claim(volume, claim), step.bound_status(claim, volume)):
        if plan is not NOTHING:
            return plan
    return NOTHING


def _bind_claim(volume: Obj, claim: Obj) -> Plan:
    named = claims.volume_name(claim) == objects.name(volume)
    if named and claims.has_annotation(claim, claims.BIND_COMPLETED):
        return NOTHING
    new: Obj = objects.copy_of(claim)
    annotations = new["metadata"].setdefault("annotations", {})
    annotations[claims.BIND_COMPLETED] = "yes"
    if not named:
        new["spec"]["volumeName"] = objects.name(volume)
        annotations[claims.BOUND_BY_CONTROLLER] = "yes"
    return step.update_claim(new)


def _told(plan: Plan, *tells: step.Tell) -> Plan:
    return Plan(plan.write, (*plan.tells, *tells))
