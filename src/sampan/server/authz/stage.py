"""The authorization stage of the pipeline: the request's own question, and the 403 when the answer is no."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sampan.api import fields
from sampan.server.attributes import AuthorizationAttributes, Authorizer, Decision
from sampan.server.authz.messages import forbidden
from sampan.server.request import ANONYMOUS, Request

#: upgraded connections run commands: they are a ``create`` whatever the HTTP method (upstream since 1.35, #134577)
_STREAMING = frozenset({"exec", "attach", "portforward"})
_SELECTING = frozenset({"list", "watch", "deletecollection"})
_LONGEST_SELECTOR = 1024


def attributes_of(request: Request) -> AuthorizationAttributes:
    info = request.info
    if not info.is_resource:
        return AuthorizationAttributes(request.user, info.verb, path=info.path)
    verb = info.verb
    if info.resource == "pods" and info.group == "" and info.subresource in _STREAMING:
        verb = "create"
    selector = request.query.get("fieldSelector", "") if verb in _SELECTING else ""
    return AuthorizationAttributes(
        request.user, verb, info.group, info.version, info.resource, info.subresource, info.namespace, info.name,
        fields=pinned_fields(selector) if selector else (),
    )  # fmt: skip


def pinned_fields(selector: str) -> tuple[tuple[str, str], ...]:
    """What a field selector pins. One that cannot be read pins nothing: nothing is granted for it."""
    if len(selector) > _LONGEST_SELECTOR:
        return ()
    try:
        parsed = fields.parse(selector)
    except fields.FieldSelectorError:
        return ()
    return tuple((term.field, term.value) for term in parsed.requirements if term.equal)


async def authorize(
    request: Request, authorizer: Authorizer, catch_up: Callable[[], Awaitable[None]] | None = None
) -> None:
    """``catch_up``: the caches that policy asks may be behind, until it returns. Nobody is refused for what they do not
    know yet; but strangers do not make us ask the store. Raises Forbidden, StoreUnavailable."""
    attributes = attributes_of(request)
    decision = await _decide(attributes, authorizer)
    if not decision.allowed and catch_up is not None and request.user.name != ANONYMOUS.name:
        await catch_up()
        decision = await _decide(attributes, authorizer)
    if not decision.allowed:
        raise forbidden(attributes, decision.reason)


async def _decide(attributes: AuthorizationAttributes, authorizer: Authorizer) -> Decision:
    decision = authorizer.decide_now(attributes)
    return decision if decision is not None else await authorizer.authorize(attributes)
