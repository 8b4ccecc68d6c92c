"""The authorization stage of the pipeline: the request's own question, and the 403 when the answer is no."""

from __future__ import annotations

from sampan.server.attributes import AuthorizationAttributes, Authorizer
from sampan.server.authz.messages import forbidden
from sampan.server.request import Request

#: upgraded connections run commands: they are a ``create`` whatever the HTTP method (upstream since 1.35, #134577)
_STREAMING = frozenset({"exec", "attach", "portforward"})


def attributes_of(request: Request) -> AuthorizationAttributes:
    info = request.info
    if not info.is_resource:
        return AuthorizationAttributes(request.user, info.verb, path=info.path)
    verb = info.verb
    if info.resource == "pods" and info.group == "" and info.subresource in _STREAMING:
        verb = "create"
    return AuthorizationAttributes(
        request.user, verb, info.group, info.version, info.resource, info.subresource, info.namespace, info.name
    )


async def authorize(request: Request, authorizer: Authorizer) -> None:
    """Raises Forbidden."""
    attributes = attributes_of(request)
    decision = await authorizer.authorize(attributes)
    if not decision.allowed:
        raise forbidden(attributes, decision.reason)
