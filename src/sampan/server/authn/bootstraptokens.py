"""Who asks with a bootstrap token: a machine on its way into the cluster.

The Secret is looked at for each request: a token that was deleted, or is over, is good no more from that moment on.
Nothing is remembered, for such a token is used a handful of times.
Upstream: plugin/pkg/auth/authenticator/token/bootstrap.
"""

from __future__ import annotations

from sampan.api import bootstraptokens
from sampan.api.clock import Clock
from sampan.api.resources import SECRETS
from sampan.server.identity import AUTHENTICATED_GROUP
from sampan.server.reader import ObjectReader
from sampan.server.request import UserInfo


class BootstrapTokens:
    def __init__(self, reader: ObjectReader, clock: Clock) -> None:
        self._reader, self._clock = reader, clock

    def check(self, token: str) -> UserInfo | None:
        """None: it is no bootstrap token, or not a good one."""
        matched = bootstraptokens.TOKEN.fullmatch(token)
        if matched is None:
            return None
        identity, key = matched[1], matched[2]
        secret = self._reader.get(SECRETS, bootstraptokens.NAMESPACE, bootstraptokens.NAME_PREFIX + identity)
        if secret is None:
            return None
        groups = bootstraptokens.groups_of(secret, identity, key, self._clock.now())
        if groups is None:
            return None
        return UserInfo(bootstraptokens.USER_PREFIX + identity, (*groups, AUTHENTICATED_GROUP))
