"""Looks once a day at all Secrets that hold tokens of accounts (upstream ``legacy-serviceaccount-token-cleaner``).

Nothing waits for a change here, so no informer follows Secrets: a look lists those of the type, a page at a time.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.pods.references import pod_references
from sampan.api.reading import part, text
from sampan.api.resources import CONFIG_MAPS, PODS, SECRETS, SERVICE_ACCOUNTS
from sampan.api.types import Obj
from sampan.client.controller import Controller, Result
from sampan.controllers.context import Context
from sampan.controllers.legacytokens.plan import (
    INVALID_SINCE,
    SECRET_TYPE,
    Action,
    Times,
    account_of,
    is_old,
    plan,
    times,
)

NAME = "legacy-service-account-token-cleaner"
TRACKING = "kube-apiserver-legacy-service-account-token-tracking"
INTERVAL_SECONDS: Final = 24 * 3600.0
_PAGE: Final = 100
#: of how many pods the Secrets are collected before others have a turn
_PODS_A_TURN: Final = 200

log = logging.getLogger(__name__)


class LegacyTokenCleaner:
    def __init__(self, context: Context) -> None:
        self._client, self._reader = context.client_for(NAME), context.informers.client
        self._clock = context.clock
        self._period = timedelta(seconds=context.config.legacy_token_clean_up_seconds)
        self._accounts = context.informers.informer(SERVICE_ACCOUNTS)
        self._pods = context.informers.informer(PODS)
        followed = (self._accounts, self._pods)
        self._controller: Controller[str] = Controller(NAME, self._sync, workers=1, informers=followed)

    async def run(self) -> None:
        """Runs until cancelled."""
        self._controller.enqueue("all of them")
        await self._controller.run()

    async def _sync(self, key: str) -> Result:
        await self.look()
        return Result(INTERVAL_SECONDS)

    async def look(self) -> None:
        """Raises ApiError."""
        try:
            tracking = await self._client.get(CONFIG_MAPS, TRACKING, "kube-system")
        except NotFound:
            return  # uses are not written down yet
        try:
            found = times(self._clock.now(), text(part(tracking, "data"), "since"), self._period)
        except ValueError:
            log.warning("ConfigMap kube-system/%s does not say since when", TRACKING)
            return
        if found is not None:
            await self._clean(found)

    async def _clean(self, times: Times) -> None:
        mounted: dict[str, frozenset[str]] = {}
        token = ""
        while True:
            page = await self._reader.list(
                SECRETS, field_selector=f"type={SECRET_TYPE}", limit=_PAGE, continue_token=token
            )
            for secret in page.get("items") or ():
                if is_old(secret, times):
                    await self._decide(secret, times, mounted)
            token = text(part(page, "metadata"), "continue")
            if not token:
                return

    async def _decide(self, secret: Obj, times: Times, mounted: dict[str, frozenset[str]]) -> None:
        namespace = secret["metadata"]["namespace"]
        if namespace not in mounted:
            mounted[namespace] = await self._secrets_of_pods(namespace)
        account = self._accounts.get(namespace, account_of(secret))
        match plan(secret, account, mounted[namespace], times):
            case None:
                return
            case action:
                await self._act(secret, action, times.today)

    async def _secrets_of_pods(self, namespace: str) -> frozenset[str]:
        names: set[str] = set()
        for number, pod in enumerate(self._pods.list(namespace), 1):
            names.update(name for resource, name in pod_references(pod) if resource == "secrets")
            if number % _PODS_A_TURN == 0:
                await asyncio.sleep(0)
        return frozenset(names)

    async def _act(self, secret: Obj, action: Action, today: str) -> None:
        """One that cannot be written costs no other its turn; it is looked at again tomorrow."""
        meta = secret["metadata"]
        name, namespace = meta["name"], meta["namespace"]
        log.info("token of account in secret %s/%s, not used for long: %s", namespace, name, action)
        try:
            if action == "mark":
                patch = {"metadata": {"uid": meta["uid"], "labels": {INVALID_SINCE: today}}}
                await self._client.patch(SECRETS, name, patch, namespace)
            else:
                await self._client.delete(SECRETS, name, namespace, resource_version=meta["resourceVersion"])
        except (Conflict, NotFound):
            return
        except ApiError as error:
            log.warning("token of account in secret %s/%s: %s", namespace, name, error)
