"""POSTs whose answer is computed and not stored: reviews and ServiceAccount tokens."""

from __future__ import annotations

from sampan.api import errors
from sampan.server.options import parse_write_options
from sampan.server.request import Request
from sampan.server.rest.body import kind_or_fail, read_other
from sampan.server.rest.context import RestContext
from sampan.server.rest.create import new_write
from sampan.server.results import PlainResult


async def review(ctx: RestContext, request: Request) -> PlainResult:
    """TokenReview, SubjectAccessReview and their kin."""
    kind = kind_or_fail(request.info.kind)
    if ctx.reviews is None:
        raise errors.MethodNotAllowed("this server has no authorizer to ask")
    options = parse_write_options(request.query, "CreateOptions")
    obj = await read_other(request, kind.group, kind.version, kind.kind, options)
    if kind.to_stored is None or kind.from_stored is None:
        return PlainResult(await ctx.reviews.review(kind, obj, request), 201)
    answer = await ctx.reviews.review(kind, kind.to_stored(obj), request)
    return PlainResult({**kind.from_stored(answer), "kind": kind.kind, "apiVersion": kind.api_version}, 201)


async def create_token(ctx: RestContext, request: Request) -> PlainResult:
    """serviceaccounts/NAME/token."""
    if ctx.tokens is None:
        raise errors.MethodNotAllowed("this server has no key to sign tokens with")
    options = parse_write_options(request.query, "CreateOptions")
    target = ctx.target(request)
    body = await read_other(request, "authentication.k8s.io", "v1", "TokenRequest", options)
    write = new_write(request, "CREATE", target, options, body, None)
    await ctx.admission.admit(write)
    await ctx.admission.validate(write)
    return PlainResult(await ctx.tokens.issue(target.namespace, target.name, body), 201)
