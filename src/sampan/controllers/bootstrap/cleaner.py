"""Deletes bootstrap tokens that are over (upstream ``token-cleaner``). Off unless it is asked for, as upstream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sampan.api.errors import Conflict, NotFound
from sampan.api.resources import SECRETS
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result
from sampan.client.keys import ObjectKey, key_of
from sampan.controllers.bootstrap import tokens
from sampan.controllers.context import Context

NAME: Final = "token-cleaner"
#: A timer further away would not fit every loop's clock.
_LONGEST_WAIT_SECONDS = 24 * 3600.0


class TokenCleaner:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._secrets = context.informers.informer(SECRETS, field_selector=f"type={tokens.TOKEN_TYPE}")
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, workers=1)
        self._controller.watch(self._secrets, _if_token)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        secret = self._secrets.get(*key)
        left = tokens.seconds_left(secret, self._clock.now()) if secret is not None else None
        if secret is None or left is None:
            return DONE
        if left > 0:
            return Result(min(left, _LONGEST_WAIT_SECONDS))
        try:
            await self._client.delete(SECRETS, key.name, key.namespace, uid=secret["metadata"]["uid"])
        except (Conflict, NotFound):
            pass  # somebody else was first
        return DONE


def _if_token(secret: Obj) -> Iterable[ObjectKey]:
    return (key_of(secret),) if tokens.is_token(secret) else ()
