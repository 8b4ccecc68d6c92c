"""What the expressions of a policy see of a write: the values of their variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sampan.api.expressions.admission import namespace_value
from sampan.api.expressions.authorizer import Decide, authorizer, request_resource
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.server.admission.evaluating import question_of
from sampan.server.admission.matching import Asked
from sampan.server.admission.webhooks.reviews import request_of
from sampan.server.admission.webhooks.subjects import Shown
from sampan.server.write import Write

#: The variables, once it is known who answers what authorizers are asked.
Seen = Callable[[Decide], Mapping[str, Any]]


def seen_of(write: Write, asked: Asked, kind: Kind, shown: Shown, namespace: Obj | None) -> Seen:
    """Without parameters. ``kind``: the version in which the policy sees the write."""
    fixed = {
        "object": shown.obj,
        "oldObject": shown.old,
        "request": request_of(write, asked, kind, shown.gvk),
        "namespaceObject": namespace_value(namespace),
    }
    question = question_of(write, asked)

    def seen(decide: Decide) -> Mapping[str, Any]:
        return {
            **fixed,
            "authorizer": authorizer(decide),
            "authorizer.requestResource": request_resource(decide, question),
        }

    return seen
