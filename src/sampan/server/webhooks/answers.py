"""What a webhook's HTTP answer is worth: the body of a 2xx, within a bound, or the error it stands for.

Statuses are read as client-go reads those of a server it knows nothing of (NewGenericServerResponse).
"""

from __future__ import annotations

from typing import Final

import aiohttp
import orjson

from sampan.api import errors
from sampan.api.errors import ApiError

#: of the body of an error: a ``Status`` is short
_ERROR_BYTES: Final = 16 * 1024
_SHOWN_CHARACTERS: Final = 2048
_GENERIC: Final = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    403: "unknown",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    406: "unknown",
    409: "the server reported a conflict",
    415: "unknown",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


class TooLong(Exception):
    """More than anybody would answer."""


async def read(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """Raises ApiError for an answer that is none, TooLong, aiohttp.ClientError."""
    good = 200 <= response.status <= 206
    body = await _bounded(response, limit_bytes if good else _ERROR_BYTES)
    if good and body is None:
        response.close()
        raise TooLong(f"the response is larger than {limit_bytes} bytes")
    if good and body is not None:
        return body
    response.close()
    raise error_of(response.status, body or b"")


async def _bounded(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes | None:
    """None: it is longer, and was not read to its end."""
    if (response.content_length or 0) > limit_bytes:
        return None
    found = bytearray()
    async for piece in response.content.iter_any():
        found += piece
        if len(found) > limit_bytes:
            return None
    return bytes(found)


def error_of(status: int, body: bytes) -> ApiError:
    """The message of a ``Status``; of any other body nothing is repeated, it may be anybody's. Pure."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if isinstance(said, dict) and said.get("kind") == "Status" and isinstance(said.get("message"), str):
        found = errors.from_status(status, {"message": said["message"][:_SHOWN_CHARACTERS], "code": status})
    elif status in _GENERIC:
        found = errors.from_status(status, {"message": _GENERIC[status]})
    elif status >= 500:
        text = 'an error on the server ("unknown") has prevented the request from succeeding'
        found = errors.InternalError(text)
    else:
        text = f"the server responded with the status code {status} but did not return more information"
        found = errors.InternalError(text)
    return found
