"""POST pods/NAME/binding and bindings: gives a pod its node, in one write (registry/core/pod/storage, BindingREST)."""

from __future__ import annotations

from sampan.api import errors
from sampan.api.clock import format_time
from sampan.api.kind import Strategy
from sampan.api.resources import PODS
from sampan.api.types import Obj
from sampan.server.options import names_version, parse_write_options
from sampan.server.request import Request
from sampan.server.rest.body import read_other
from sampan.server.rest.context import RestContext
from sampan.server.rest.create import new_write
from sampan.server.rest.update import Change, change_object, check_precondition_uid
from sampan.server.results import PlainResult
from sampan.server.storage import Versioned
from sampan.server.target import Target

#: spec and status change together; nothing else may, and it counts as no new generation
_BIND = Strategy(lambda kind, new, old: new, lambda kind, new, old: [], counts_generation=False)


async def bind(ctx: RestContext, request: Request) -> PlainResult:
    options = parse_write_options(request.query, "CreateOptions")
    binding = await read_other(request, "", "v1", "Binding", options)
    meta, _ = _checked(binding)
    view = request.surface.by_resource(PODS)
    if view is None:
        raise errors.InternalError("pods are not served")
    name = request.info.name or meta.get("name", "")
    target = Target(view, request.info.namespace, name)
    if meta.get("name", name) != name:
        raise errors.BadRequest(
            f"the name of the object ({meta.get('name')}) does not match the name on the URL ({name})"
        )
    if meta.get("namespace", target.namespace) != target.namespace:
        raise errors.BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    write = new_write(request, "CREATE", target, options, binding, None, subresource="binding")
    await ctx.admission.admit(write)
    await ctx.admission.validate(write)
    meta, node = _checked(write.obj or binding)
    now = format_time(ctx.clock.now())

    version = meta.get("resourceVersion", "")
    pinned = names_version(version)

    async def compute(current: Versioned) -> Obj:
        check_precondition_uid(target, meta.get("uid"), current)
        if pinned and version != str(current.revision):
            raise target.conflict(
                f"Precondition failed: ResourceVersion in precondition: {version}, "
                f"ResourceVersion in object meta: {current.revision}"
            )
        pod = await view.readable(current)
        return bound_pod(pod, node, meta.get("annotations") or {}, now, labels=meta.get("labels") or {})

    await change_object(ctx, request, target, Change(compute, _BIND, options, pinned, checked=False))
    return PlainResult({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)


def _checked(binding: Obj) -> tuple[Obj, str]:
    """Metadata and node name. Raises BadRequest, Invalid."""
    target = binding.get("target") or {}
    if not target.get("name"):
        error = errors.required("target.name")
        if not target:
            raise errors.BadRequest("a Binding needs a target")
        raise errors.invalid_object("Binding", "", [error])
    if target.get("kind", "Node") not in ("", "Node"):
        error = errors.not_supported("target.kind", target["kind"], ("Node", "<empty>"))
        raise errors.invalid_object("Binding", "", [error])
    return binding.get("metadata") or {}, target["name"]


def bound_pod(
    pod: Obj, node: str, annotations: dict[str, str], now: str, *, labels: dict[str, str] | None = None
) -> Obj:
    """The pod on its node, which shares with ``pod`` what stays as it is. ``labels`` are added where the pod has none
    of the name. Pure.

    Raises Conflict, Invalid.
    """
    meta, spec = {**pod["metadata"]}, {**pod["spec"]}
    if meta.get("deletionTimestamp"):
        raise errors.conflict(
            "pods/binding", meta["name"], detail=f"pod {meta['name']} is being deleted, cannot be assigned to a host"
        )
    if spec.get("nodeName"):
        detail = f'pod {meta["name"]} is already assigned to node "{spec["nodeName"]}"'
        raise errors.conflict("pods/binding", meta["name"], detail=detail)
    if spec.get("schedulingGates"):
        detail = f"pod {meta['name']} has non-empty .spec.schedulingGates"
        raise errors.conflict("pods/binding", meta["name"], detail=detail)
    spec["nodeName"] = node
    if annotations:
        meta["annotations"] = {**(meta.get("annotations") or {}), **annotations}
    if labels:
        meta["labels"] = {**labels, **(meta.get("labels") or {})}
    status = {**(pod.get("status") or {})}
    conditions = [c for c in status.get("conditions") or [] if c.get("type") != "PodScheduled"]
    scheduled: Obj = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    if "generation" in meta:
        scheduled["observedGeneration"] = meta["generation"]
    status["conditions"] = [*conditions, scheduled]
    # It was a promise until now (upstream's ClearingNominatedNodeNameAfterBinding).
    status.pop("nominatedNodeName", None)
    return {**pod, "metadata": meta, "spec": spec, "status": status}
