"""The authentication stage: certificate, then bearer token, then anonymous.

The pipeline calls ``AuthenticationStage.apply`` first of all. On the way out the request has a user and no credentials
any more. Also answers TokenReview's question through ``check_token``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sampan.api.errors import Unauthorized
from sampan.server.authn.bearer import bearer_token, without_credentials
from sampan.server.authn.serviceaccount import ServiceAccountTokens, TokenRefused
from sampan.server.authn.x509 import CertificateAuthenticator
from sampan.server.request import ANONYMOUS, Request, UserInfo

AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"


class AuthenticationStage:
    """``anonymous`` False: a request without credentials is 401."""

    def __init__(
        self, certificates: CertificateAuthenticator, tokens: ServiceAccountTokens, *, anonymous: bool = True
    ) -> None:
        self._certificates, self._tokens, self._anonymous = certificates, tokens, anonymous

    async def apply(self, request: Request) -> None:
        """Sets ``request.user`` and drops the credentials. Raises Unauthorized."""
        request.user = await self._identify(request)
        request.headers = without_credentials(request)

    async def _identify(self, request: Request) -> UserInfo:
        user = await self._certificates.authenticate(request)
        if user is not None:
            return with_authenticated(user)
        token = bearer_token(request)
        if token is not None:
            found = await self.check_token(token, self._tokens.audiences)
            if found is None:
                raise Unauthorized("Unauthorized")
            return found[0]
        # Another scheme (Basic) is nobody's business, as upstream: such a request is anonymous and then forbidden.
        if not self._anonymous:
            raise Unauthorized("Unauthorized")
        return ANONYMOUS

    async def check_token(self, token: str, audiences: Sequence[str]) -> tuple[UserInfo, tuple[str, ...]] | None:
        """The user of a token and the audiences it serves; None: not good."""
        try:
            found = await self._tokens.check(token, audiences or self._tokens.audiences)
        except TokenRefused:
            return None
        if found is None:
            return None
        return with_authenticated(found[0]), found[1]


def with_authenticated(user: UserInfo) -> UserInfo:
    """``system:authenticated`` is added to whoever is not marked otherwise (upstream: AuthenticatedGroupAdder)."""
    if AUTHENTICATED_GROUP in user.groups or UNAUTHENTICATED_GROUP in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED_GROUP))
