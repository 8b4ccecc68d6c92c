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


class Seeing:
    """Of one write. What is the same for all policies is made once, when the first of them looks."""

    def __init__(self, write: Write, asked: Asked) -> None:
        self._write, self._asked = write, asked
        self._question = question_of(write, asked)
        self._requests: dict[tuple[str, str, str], Obj] = {}
        self._namespace: tuple[Obj | None, Obj | None] = (None, None)

    def seen(self, kind: Kind, shown: Shown, namespace: Obj | None) -> Seen:
        """Without parameters. ``kind``: the version in which the policy sees the write."""
        gvk = kind.group, kind.version, kind.kind
        request = self._requests.get(gvk)
        if request is None:
            request = self._requests[gvk] = request_of(self._write, self._asked, kind, shown.gvk)
        if namespace is not self._namespace[0]:
            self._namespace = namespace, namespace_value(namespace)
        fixed = {
            "object": shown.obj,
            "oldObject": shown.old,
            "request": request,
            "namespaceObject": self._namespace[1],
        }
        question = self._question

        def seen(decide: Decide) -> Mapping[str, Any]:
            return {
                **fixed,
                "authorizer": authorizer(decide),
                "authorizer.requestResource": request_resource(decide, question),
            }

        return seen
