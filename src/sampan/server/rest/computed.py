"""POSTs whose answer is computed and not stored: reviews and ServiceAccount tokens."""

from __future__ import annotations

from sampan.api import errors
from sampan.server.request import Request, Response
from sampan.server.rest.body import kind_or_fail, read_other
from sampan.server.rest.context import RestContext
from sampan.server.rest.create import admission_attributes
from sampan.server.rest.options import parse_write_options
from sampan.server.rest.respond import plain_response


async def review(ctx: RestContext, request: Request) -> Response:
    """TokenReview, SubjectAccessReview and their kin."""
    kind = kind_or_fail(request.info.kind)
    if ctx.reviews is None:
        raise errors.MethodNotAllowed("this server has no authorizer to ask")
    options = parse_write_options(request.query, "CreateOptions")
    obj = await read_other(ctx, request, kind.group, kind.version, kind.kind, options)
    return plain_response(request, await ctx.reviews.review(kind, obj, request), 201)


async def create_token(ctx: RestContext, request: Request) -> Response:
    """serviceaccounts/NAME/token."""
    if ctx.tokens is None:
        raise errors.MethodNotAllowed("this server has no key to sign tokens with")
    options = parse_write_options(request.query, "CreateOptions")
    target = ctx.target(request)
    body = await read_other(ctx, request, "authentication.k8s.io", "v1", "TokenRequest", options)
    attributes = admission_attributes(request, target.storage.kind, "CREATE", target, options, body, None)
    await ctx.admission.admit(attributes)
    await ctx.admission.validate(attributes)
    return plain_response(request, await ctx.tokens.issue(target.namespace, target.name, body), 201)
