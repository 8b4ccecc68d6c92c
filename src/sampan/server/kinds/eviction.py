"""POST pods/NAME/eviction (policy/v1): a delete that asks the pod's disruption budget first.

The budget is charged before the pod is deleted, with the budget's resourceVersion as the guard, so that two evictions
cannot spend the same disruption (registry/core/pod/storage/eviction.go).
"""

from __future__ import annotations

from dataclasses import replace

from sampan.api import errors, labels
from sampan.api.clock import format_time
from sampan.api.kind import Strategy
from sampan.api.pods.status import is_active, is_ready, phase
from sampan.api.resources import POD_DISRUPTION_BUDGETS
from sampan.api.types import Obj
from sampan.server.options import DeleteOptions, WriteOptions, parse_delete_options, parse_write_options
from sampan.server.request import Request
from sampan.server.rest.body import read_other
from sampan.server.rest.context import RestContext
from sampan.server.rest.create import new_write
from sampan.server.rest.delete import check_preconditions, delete_object
from sampan.server.rest.update import MAX_ATTEMPTS, Change, change_object
from sampan.server.results import PlainResult
from sampan.server.storage import Versioned
from sampan.server.target import Target

_CHARGE = Strategy(lambda kind, new, old: new, lambda kind, new, old: [], counts_generation=False)
#: the disruption controller forgets pods of this list that were not deleted in time; it must stay short
MAX_DISRUPTED_PODS = 2000


async def evict(ctx: RestContext, request: Request) -> PlainResult:
    write = parse_write_options(request.query, "CreateOptions")
    eviction = await read_other(request, "policy", "v1", "Eviction", write)
    target = ctx.target(request)
    if (eviction.get("metadata") or {}).get("name", target.name) != target.name:
        raise errors.BadRequest("name in URL does not match name in Eviction object")
    options = parse_delete_options(request.query, eviction.get("deleteOptions") or None)
    options = replace(options, dry_run=options.dry_run or write.dry_run)
    write = replace(write, dry_run=options.dry_run)
    admitted = new_write(request, "CREATE", target, write, eviction, None)
    await ctx.admission.admit(admitted)
    await ctx.admission.validate(admitted)
    await _evict(ctx, request, target, options)
    answer = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return PlainResult(answer, 201)


async def _evict(ctx: RestContext, request: Request, target: Target, options: DeleteOptions) -> None:
    """What is decided from a pod's state is done to that state only. Raises as ``delete_object``; TooManyRequests."""
    for _ in range(MAX_ATTEMPTS):
        current = await target.storage.newest(target.key)
        if current is None:
            raise target.not_found()
        check_preconditions(target, options, current)
        pod = current.object()
        pinned = await _ask_budget(ctx, request, target, pod, dry_run=options.dry_run)
        version = options.resource_version or (str(current.revision) if pinned else "")
        one = replace(options, uid=pod["metadata"].get("uid", ""), resource_version=version)
        try:
            if not options.dry_run:
                told = await _tell_why(ctx, request, target, one)
                one = replace(one, resource_version=str(told) if version else "")
            await delete_object(ctx, request, target, one)
            return
        except errors.Conflict:
            newest = await target.storage.newest(target.key)
            if newest is not None and newest.revision == current.revision:
                raise  # for another reason than that the pod changed
    raise target.conflict()


async def _tell_why(ctx: RestContext, request: Request, target: Target, options: DeleteOptions) -> int:
    """Marks the pod as evicted, for whoever asks why it ended (a Job's failure policy); the revision of that."""
    now = format_time(ctx.clock.now())

    async def compute(current: Versioned) -> Obj:
        check_preconditions(target, options, current)
        return disrupted(await target.view.writable(current, heavy=request.heavy), now)

    outcome = await change_object(ctx, request, target, Change(compute, _CHARGE, WriteOptions(), checked=False))
    return outcome.result.revision


def disrupted(pod: Obj, now: str) -> Obj:
    """The pod with the condition of an eviction (KEP-3329). Pure but for changing ``pod``."""
    condition: Obj = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now,
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    status = pod.setdefault("status", {})
    if "generation" in pod["metadata"]:
        condition["observedGeneration"] = pod["metadata"]["generation"]
    others = [each for each in status.get("conditions") or () if each.get("type") != "DisruptionTarget"]
    if len(others) == len(status.get("conditions") or ()):
        status["conditions"] = [*others, condition]
    return pod


def can_ignore_budget(pod: Obj) -> bool:
    """Pods that are finished, not started or already going do not count as available."""
    return not is_active(pod) or phase(pod) == "Pending"


async def _ask_budget(ctx: RestContext, request: Request, target: Target, pod: Obj, *, dry_run: bool) -> bool:
    """Charges the budget that the pod has, if it counts as available. True: it does not count now, but may by the
    time it is deleted, which then must not be. Raises TooManyRequests, Forbidden."""
    if can_ignore_budget(pod):
        return is_active(pod)
    view = request.surface.by_resource(POD_DISRUPTION_BUDGETS)
    while view is not None:
        # A budget that was made before this request counts, and one that cannot be read may be the one that forbids it.
        await view.storage.cache.barrier()
        entries = view.storage.cache.entries(view.storage.key_prefix(target.namespace))
        budgets = [entry.object() for entry in entries if _covers(entry.object(), pod)]
        if not budgets:
            return False
        if len(budgets) > 1:
            raise errors.InternalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            )
        if not is_ready(pod) and _ignores_unready(budgets[0]):
            return True
        try:
            await _charge(
                ctx, request, Target(view, target.namespace, budgets[0]["metadata"]["name"]), target.name, dry_run
            )
            return False
        except errors.NotFound:
            continue  # the budget is gone: look again
    return False


async def _charge(ctx: RestContext, request: Request, budget: Target, pod: str, dry_run: bool) -> None:
    now = format_time(ctx.clock.now())

    async def compute(current: Versioned) -> Obj:
        return charged(await budget.view.writable(current), pod, now)

    write = WriteOptions(dry_run=dry_run)
    await change_object(ctx, request, budget, Change(compute, _CHARGE, write, checked=False))


def _covers(budget: Obj, pod: Obj) -> bool:
    selector = labels.from_label_selector((budget.get("spec") or {}).get("selector"))
    return selector.matches(pod["metadata"].get("labels"))


def _ignores_unready(budget: Obj) -> bool:
    """``unhealthyPodEvictionPolicy``: AlwaysAllow, or IfHealthyBudget while the budget is met."""
    spec, status = budget.get("spec") or {}, budget.get("status") or {}
    if spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    desired = status.get("desiredHealthy") or 0
    return desired > 0 and (status.get("currentHealthy") or 0) >= desired


def charged(budget: Obj, pod: str, now: str) -> Obj:
    """The budget after one more disruption. Raises TooManyRequests, Forbidden."""
    meta, status = budget["metadata"], budget.setdefault("status", {})
    name = meta["name"]
    if (status.get("observedGeneration") or 0) < (meta.get("generation") or 0):
        raise _blocked(f"The disruption budget {name} is still being processed by the server.", retry_after=10)
    allowed = status.get("disruptionsAllowed") or 0
    disrupted = status.setdefault("disruptedPods", {})
    if allowed < 0:
        raise errors.forbidden_error("poddisruptionbudgets", name, "pdb disruptions allowed is negative", "policy")
    if len(disrupted) > MAX_DISRUPTED_PODS:
        text = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise errors.forbidden_error("poddisruptionbudgets", name, text, "policy")
    if allowed == 0:
        needed, healthy = status.get("desiredHealthy") or 0, status.get("currentHealthy") or 0
        text = f"The disruption budget {name} needs {needed} healthy pods and has {healthy} currently"
        raise _blocked(text)
    status["disruptionsAllowed"] = allowed - 1
    disrupted[pod] = now
    return budget


def _blocked(text: str, retry_after: int | None = None) -> errors.TooManyRequests:
    return errors.TooManyRequests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details={"causes": [{"reason": "DisruptionBudget", "message": text}]},
        retry_after_seconds=retry_after,
    )
