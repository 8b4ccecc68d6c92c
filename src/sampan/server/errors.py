"""From exceptions to ``Status`` answers: the one table between what was raised below and what a client reads.

Used by the pipeline for every failed request, and by watch for ERROR events.
"""

from __future__ import annotations

import logging

from sampan.api import errors
from sampan.api.errors import ApiError
from sampan.server.forms import encode
from sampan.server.negotiation import Media, negotiate
from sampan.server.request import Request, Response
from sampan.server.threads import is_heavy, paced
from sampan.store import protocol as store

log = logging.getLogger(__name__)


class RequestTimeout(ApiError):
    """The client stopped in the middle of its body."""

    code, reason = 408, "Timeout"


class ExpectationFailed(ApiError):
    code, reason = 417, "BadRequest"


class PlainNotFound(errors.NotFound):
    """A group version, or a path, that nobody serves: upstream answers it in plain text."""


def too_large_resource_version(revision: int, current: int) -> errors.Timeout:
    """504 for a resourceVersion that has not happened yet; client-go answers it by listing without one."""
    return errors.Timeout(
        f"Timeout: Too large resource version: {revision}, current: {current}",
        details={
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


def to_api_error(error: BaseException) -> ApiError:
    """The typed error for anything that a stage raised. What is not ours to explain becomes 500, without details."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, store.Compacted):
        return errors.Expired(f"too old resource version: {error.revision} ({error.oldest})")
    if isinstance(error, store.FutureRevision):
        return too_large_resource_version(error.revision, error.current)
    if isinstance(error, store.WatchOverflow):
        return errors.Expired("the watch did not keep up with the changes; list again")
    if isinstance(error, store.EntryDamaged):
        return errors.InternalError(
            f"the stored value of {error.key.removeprefix('/registry/')} at resourceVersion {error.revision} is "
            "damaged and cannot be read; it can be deleted, or restored from a backup"
        )
    if isinstance(error, store.ValueTooLarge):
        return errors.RequestEntityTooLarge(str(error))
    if isinstance(error, store.OutcomeUnknown):  # whoever would try again at once might do it twice
        return errors.Timeout(f"the store did not answer in time: {error}")
    if isinstance(error, store.StoreUnavailable):
        return errors.ServiceUnavailable(f"the store refused the write: {error}", retry_after_seconds=1)
    if isinstance(error, TimeoutError):
        return errors.Timeout("Timeout: request did not complete within the allotted timeout")
    return errors.InternalError("Internal error occurred: see the log of the API server")


def status_response(error: BaseException, request: Request | None = None) -> Response:
    """The answer to a failed request. Unknown exceptions are logged with their traceback and never shown."""
    api_error = to_api_error(error)
    if isinstance(api_error, errors.InternalError) and not isinstance(error, ApiError):
        where = f"{request.method} {request.raw_path}" if request else "request"
        log.error("%s failed", where, exc_info=error)
    status = api_error.status()
    if isinstance(api_error, PlainNotFound):
        return Response(404, b"404 page not found\n", "text/plain; charset=utf-8", obj=status)
    response = Response(api_error.code, encode(status, Media()), obj=status)
    if api_error.retry_after_seconds:
        response.headers["Retry-After"] = str(api_error.retry_after_seconds)
    return response


async def refusal(error: BaseException, request: Request) -> Response:
    """The same in the format that was asked for; in JSON if that is none, or cannot say it (what a webhook denies with
    is somebody else's). Never raises."""
    response = status_response(error, request)
    if isinstance(error, PlainNotFound) or not isinstance(response.body, bytes):
        return response
    try:
        media = negotiate(request.headers.get("accept", ""), frozenset())
        if media.format != "json":
            slow = media.format == "yaml" or is_heavy(response.body)
            response.body = await paced(slow, encode, response.obj, media)
            response.content_type = media.content_type
    except errors.NotAcceptable:
        pass
    return response


def success(resource: str, name: str, uid: str = "", group: str = "") -> dict[str, object]:
    """The ``Status`` that answers a delete which left nothing behind."""
    details = {"name": name, "kind": resource}
    if group:
        details["group"] = group
    if uid:
        details["uid"] = uid
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
