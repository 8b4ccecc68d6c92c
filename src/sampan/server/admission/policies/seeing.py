"""What the expressions of a policy see of a write: the values of their variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sampan.api.expressions.admission import namespace_value
from sampan.api.expressions.authorizer import Decide, Question, authorizer, request_resource
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.server.admission.matching import Asked
from sampan.server.admission.webhooks.reviews import options_of, user_info
from sampan.server.admission.webhooks.subjects import Shown
from sampan.server.write import Write

#: The variables, once it is known who answers what authorizers are asked.
Seen = Callable[[Decide], Mapping[str, Any]]


def seen_of(write: Write, asked: Asked, kind: Kind, shown: Shown, namespace: Obj | None) -> Seen:
    """Without parameters. ``kind``: the version in which the policy sees the write."""
    fixed = {
        "object": shown.obj,
        "oldObject": shown.old,
        "request": _request(write, asked, kind, shown),
        "namespaceObject": namespace_value(namespace),
    }
    question = Question(
        group=asked.group,
        resource=asked.plural,
        subresource=asked.subresource,
        namespace=write.namespace,
        name=asked.name,
    )

    def seen(decide: Decide) -> Mapping[str, Any]:
        return {
            **fixed,
            "authorizer": authorizer(decide),
            "authorizer.requestResource": request_resource(decide, question),
        }

    return seen


def _request(write: Write, asked: Asked, kind: Kind, shown: Shown) -> Obj:
    """admission.k8s.io AdmissionRequest, as far as expressions see it."""
    requested = write.request_kind or write.kind
    request_gvk = shown.gvk if asked.subresource else (requested.group, requested.version, requested.kind)
    request: Obj = {
        "kind": _kind(shown.gvk),
        "resource": {"group": kind.group, "version": kind.version, "resource": kind.plural},
        "requestKind": _kind(request_gvk),
        "requestResource": asked.resource,
        "operation": asked.operation,
        "userInfo": user_info(write.user),
        "dryRun": write.dry_run,
        "options": options_of(write),
    }
    if asked.subresource:
        request["subResource"] = request["requestSubResource"] = asked.subresource
    if asked.name:
        request["name"] = asked.name
    if asked.namespace:
        request["namespace"] = asked.namespace
    return request


def _kind(gvk: tuple[str, str, str]) -> Obj:
    return dict(zip(("group", "version", "kind"), gvk, strict=True))
