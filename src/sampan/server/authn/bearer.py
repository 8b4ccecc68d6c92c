"""Where a bearer token may stand in a request: the Authorization header, or a WebSocket subprotocol for browsers."""

from __future__ import annotations

from sampan.api.errors import Unauthorized
from sampan.server.authn import jwt
from sampan.server.request import Request

WEBSOCKET_TOKEN_PREFIX = "base64url.bearer.authorization.k8s.io."


def bearer_token(request: Request) -> str | None:
    """The token, or None when the request carries none. Raises Unauthorized when its place holds nonsense."""
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        # "Bearer" with nothing behind it is no attempt to authenticate (upstream: empty token is skipped).
        return token.strip() or None
    if request.headers.get("upgrade", "").lower() == "websocket":
        return _subprotocol_token(request)
    return None


def _subprotocol_token(request: Request) -> str | None:
    offered = [part.strip() for part in request.headers.get("sec-websocket-protocol", "").split(",")]
    tokens = [part.removeprefix(WEBSOCKET_TOKEN_PREFIX) for part in offered if part.startswith(WEBSOCKET_TOKEN_PREFIX)]
    if not tokens:
        return None
    if len(tokens) > 1 or len(offered) < 2:
        # Without another protocol the server would have to echo the token back to agree on one.
        raise Unauthorized("Unauthorized")
    try:
        return jwt.decode_segment(tokens[0]).decode()
    except (jwt.BadToken, UnicodeDecodeError) as error:
        raise Unauthorized("Unauthorized") from error


def drop_credentials(request: Request) -> None:
    """Leaves the headers that later stages, proxies and backends may see: behind authentication nobody gets secrets."""
    headers = request.headers
    if "authorization" in headers or "sec-websocket-protocol" in headers or "x-remote-" in "\n".join(headers):
        request.keep_headers(_without_credentials)


def _without_credentials(name: str, value: str) -> str | None:
    if name == "authorization" or name.startswith("x-remote-"):
        return None
    if name == "sec-websocket-protocol" and WEBSOCKET_TOKEN_PREFIX in value:
        offered = [part.strip() for part in value.split(",")]
        return ", ".join(part for part in offered if not part.startswith(WEBSOCKET_TOKEN_PREFIX)) or None
    return value
