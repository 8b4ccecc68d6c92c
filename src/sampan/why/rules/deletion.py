"""Objects that are being deleted and are still there: who holds them."""

from __future__ import annotations

from typing import Final

from sampan.api.objects import is_deleting
from sampan.api.pods.status import node_name
from sampan.api.reading import moment, part, text, texts, whole
from sampan.api.resources import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from sampan.api.types import Obj
from sampan.why import fit
from sampan.why.model import Action, Cause, Fix, Ref, ref_of
from sampan.why.states import condition_of
from sampan.why.table import Found, rule
from sampan.why.world import World

_CLAIM: Final = "kubernetes.io/pvc-protection"
_VOLUME: Final = "kubernetes.io/pv-protection"
#: of the garbage collector, and of controllers that end their own work
_FOREGROUND: Final = "foregroundDeletion"
_ORPHAN: Final = "orphan"
#: Finalizers that the cluster's own controllers take away, once it is safe: nobody else should.
OF_THE_CLUSTER: Final = frozenset({_CLAIM, _VOLUME, _FOREGROUND, _ORPHAN, "batch.kubernetes.io/job-tracking"})


@rule("finalizer", says="finalizers of an object that is deleted")
def finalizer(world: World, obj: Obj) -> Found:
    if not is_deleting(obj) or world.about is None or world.about.resource.kind == "Namespace":
        return
    meta, ref = part(obj, "metadata"), world.about
    held = list(texts(meta, "finalizers"))
    since = f"deleted at {text(meta, 'deletionTimestamp')}"
    for name in held:
        if name in (_CLAIM, _VOLUME):
            continue  # rules of their own
        left = [each for each in held if each != name]
        patch = {"metadata": {"finalizers": left or None}}
        if name == _FOREGROUND:
            yield Cause(
                f"{ref.place} is being deleted and waits until what it owns is gone.",
                (since, "its finalizer is foregroundDeletion, which the garbage collector takes away"),
                Fix("wait, or see what keeps what it owns: `sampan why` says it of each"),
                "likely",
                rank=2,
            )
            continue
        if name in OF_THE_CLUSTER:
            yield Cause(
                f"{ref.place} is being deleted and waits for the cluster's controllers to take the finalizer "
                f"{name} away.",
                (since,),
                Fix(
                    "see that the controllers run: `sampan status`; taken away by hand, what it keeps is lost "
                    "(with orphan: what the object owns is deleted)"
                ),
                "likely",
                rank=2,
            )
            continue
        yield Cause(
            f"{ref.place} is being deleted and cannot go: its finalizer {name} holds it, and nobody took that away.",
            (since, "a finalizer is taken away by the program that set it, once it has cleaned up"),
            Fix(
                "start the program again that looks after it; if that is gone for good, take the finalizer away",
                (Action("patch", ref, patch),),
                f"what {name} stands for is then not cleaned up (a volume, a load balancer, records of others), and "
                "nobody remembers it",
            ),
            rank=1,
        )


@rule("claim-in-use", PERSISTENT_VOLUME_CLAIMS, says="pods that use a claim that is deleted")
def claim_in_use(world: World, claim: Obj) -> Found:
    meta = part(claim, "metadata")
    if not is_deleting(claim) or _CLAIM not in texts(meta, "finalizers"):
        return
    name, namespace = text(meta, "name"), text(meta, "namespace")
    users = [pod for pod in world.all(PODS, namespace) if name in fit.claims_of(pod)]
    if users:
        names = ", ".join(fit.key(pod) for pod in users[:5])
        yield Cause(
            f"{ref_of(PERSISTENT_VOLUME_CLAIMS, claim).place} is being deleted and waits: pod {names} still uses it.",
            (f"its finalizer {_CLAIM} stays until no pod does",),
            Fix(
                "end the pods that use it",
                tuple(Action("delete", ref_of(PODS, pod)) for pod in users),
                "the claim goes with the last of them, and its data too where the volume's reclaim policy is Delete; "
                "a deletion cannot be taken back",
            ),
            rank=0,
        )


@rule("volume-in-use", PERSISTENT_VOLUMES, says="claims that a volume that is deleted is bound to")
def volume_in_use(world: World, volume: Obj) -> Found:
    meta, bound = part(volume, "metadata"), part(part(volume, "spec"), "claimRef")
    if not is_deleting(volume) or _VOLUME not in texts(meta, "finalizers") or not bound:
        return
    claim = Ref(PERSISTENT_VOLUME_CLAIMS, text(bound, "name"), text(bound, "namespace"))
    if world.get(claim.resource, claim.name, claim.namespace) is not None:
        yield Cause(
            f"{ref_of(PERSISTENT_VOLUMES, volume).place} is being deleted and waits: claim "
            f"{claim.namespace}/{claim.name} "
            "is bound to it.",
            (f"its finalizer {_VOLUME} stays while it is bound",),
            Fix(
                "delete the claim, if its data is not needed",
                (Action("delete", claim),),
                "the data goes with it where the volume's reclaim policy is Delete",
            ),
            rank=0,
        )


@rule("silent-node-holds-pod", PODS, says="whether the node of a pod that is deleted answers")
def silent_node(world: World, pod: Obj) -> Found:
    name = node_name(pod)
    if not is_deleting(pod) or not name:
        return
    node, ref = world.get(NODES, name), ref_of(PODS, pod)
    grace = whole(part(pod, "metadata"), "deletionGracePeriodSeconds") or 0
    due = moment(part(pod, "metadata"), "deletionTimestamp")
    if node is not None and condition_of(node, "Ready").get("status") == "True":
        if due is not None and due > world.now:
            yield Cause(
                f"{ref.place} is being deleted: its containers have {grace} s to end, until "
                f"{text(part(pod, 'metadata'), 'deletionTimestamp')}.",
                ("metadata.deletionGracePeriodSeconds",),
                Fix(f"wait, or end it at once: `kubectl delete pod {ref.name} -n {ref.namespace} --grace-period=0`"),
                rank=3,
            )
        return
    gone = node is None
    yield Cause(
        f"{ref.place} is being deleted and stays: its node {name} "
        f"{'is gone' if gone else 'does not answer'}, and nobody "
        "can say whether its containers have ended.",
        (f"node {name}: {text(condition_of(node or {}, 'Ready'), 'message') or 'there is no such node'}",),
        Fix(
            "bring the node back; if its machine is surely off, say so by the taint node.kubernetes.io/out-of-service, "
            f"or forget the pod: `kubectl delete pod {ref.name} -n {ref.namespace} --grace-period=0 --force`"
        ),
        rank=0,
    )
