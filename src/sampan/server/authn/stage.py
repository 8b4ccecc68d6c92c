"""The authentication stage: front proxy, certificate, then bearer token (an account's, or a machine's that joins), then
anonymous.

The pipeline calls ``AuthenticationStage.apply`` first of all. On the way out the request has a user and no credentials
any more. ``identify_now`` is the quick way for what was seen before. Also answers TokenReview's question through
``check_token``.
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.errors import Unauthorized
from sampan.server.authn.bearer import bearer_token, drop_credentials
from sampan.server.authn.bootstraptokens import BootstrapTokens
from sampan.server.authn.frontproxy import FrontProxy
from sampan.server.authn.impersonation import asks_to_impersonate
from sampan.server.authn.serviceaccount import ServiceAccountTokens, TokenRefused
from sampan.server.authn.x509 import CertificateAuthenticator
from sampan.server.identity import AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP
from sampan.server.request import ANONYMOUS, Request, UserInfo

__all__ = ["AUTHENTICATED_GROUP", "UNAUTHENTICATED_GROUP", "AuthenticationStage"]


class AuthenticationStage:
    """``anonymous`` False: a request without credentials is 401."""

    def __init__(
        self,
        certificates: CertificateAuthenticator,
        tokens: ServiceAccountTokens,
        *,
        anonymous: bool = True,
        front: FrontProxy | None = None,
        bootstrap: BootstrapTokens | None = None,
    ) -> None:
        self._certificates, self._tokens, self._anonymous, self._front = certificates, tokens, anonymous, front
        self._bootstrap = bootstrap

    def identify_now(self, request: Request) -> UserInfo | None:
        """Who asks, as themselves, if that is known without any verification; None: it takes ``apply``.

        Leaves the request as it is, credentials and all. Refuses nobody: that too is for ``apply``.
        """
        if asks_to_impersonate(request):
            return None
        if request.peer_certificate is not None:
            if self._front is not None and not self._front.is_plain_client_now(request, request.peer_certificate):
                return None
            try:
                user = self._certificates.authenticate_now(request.peer_certificate)
            except Unauthorized:
                return None
            if user is not None:
                return user
        credentials = request.headers.get("authorization")
        if credentials is None:
            return ANONYMOUS if self._anonymous and "upgrade" not in request.headers else None
        if credentials[:7] != "Bearer ":
            return None
        return self._tokens.check_now(credentials[7:])

    async def apply(self, request: Request) -> None:
        """Sets ``request.user`` and drops the credentials. Raises Unauthorized."""
        request.user = await self._identify(request)
        drop_credentials(request)
        if self._front is not None:
            self._front.drop_headers(request)

    async def _identify(self, request: Request) -> UserInfo:
        stranger = False
        if (certificate := request.peer_certificate) is not None:
            if self._front is not None:
                user = self._front.authenticate(request, certificate)
                if user is not None:
                    return user
                stranger = not self._front.is_client(certificate)
            user = self._certificates.authenticate_now(certificate) if not stranger else None
            if user is not None:
                return user
        token = bearer_token(request)
        if token is not None:
            found = await self.check_token(token, self._tokens.audiences)
            if found is None:
                raise Unauthorized("Unauthorized")
            if warning := self._tokens.warning(token):
                request.warn(warning)
            return found[0]
        # Another scheme (Basic) is nobody's business, as upstream: such a request is anonymous and then forbidden.
        if stranger or not self._anonymous:
            raise Unauthorized("Unauthorized")
        return ANONYMOUS

    async def check_token(self, token: str, audiences: Sequence[str]) -> tuple[UserInfo, tuple[str, ...]] | None:
        """The user of a token and the audiences it serves; None: not good."""
        asked = audiences or self._tokens.audiences
        try:
            found = await self._tokens.check(token, asked)
        except TokenRefused:
            return None
        if found is not None or self._bootstrap is None:
            return found
        granted = tuple(each for each in self._tokens.audiences if each in asked)
        user = self._bootstrap.check(token) if granted else None
        return (user, granted) if user is not None else None
