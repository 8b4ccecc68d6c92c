"""Signs ConfigMap ``kube-public/cluster-info`` with each bootstrap token, so that who holds one may trust what is
written there (upstream ``bootstrap-signer``). Off unless it is asked for, as upstream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sampan.api import objects
from sampan.api.reading import text_map
from sampan.api.resources import CONFIG_MAPS, SECRETS
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey
from sampan.controllers.bootstrap import tokens
from sampan.controllers.context import Context

NAME: Final = "bootstrap-signer"
CLUSTER_INFO = ObjectKey("kube-public", "cluster-info")
#: A timer further away would not fit every loop's clock.
_LONGEST_WAIT_SECONDS = 24 * 3600.0


class BootstrapSigner:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._config_maps = context.informers.informer(CONFIG_MAPS, field_selector=f"metadata.name={CLUSTER_INFO.name}")
        self._secrets = context.informers.informer(SECRETS, field_selector=f"type={tokens.TOKEN_TYPE}")
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, workers=1)
        self._controller.watch(self._config_maps, _if_signed)
        self._controller.watch(self._secrets, _if_token)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        present = self._config_maps.get(*key)
        if present is None or objects.is_deleting(present):
            return DONE
        now = self._clock.now()
        secrets = [secret for secret in self._secrets.list() if tokens.is_token(secret)]
        data = tokens.signed_data(text_map(present, "data"), secrets, now)
        if data is not None:
            new = objects.deep_copy(present)
            new["data"] = data
            await observe(self._config_maps, await self._client.update(CONFIG_MAPS, new))
        # A token that ends takes its signature with it, whether or not somebody deletes it.
        ends = [left for secret in secrets if (left := tokens.seconds_left(secret, now))]
        return Result(min(*ends, _LONGEST_WAIT_SECONDS)) if ends else DONE


def _if_signed(config_map: Obj) -> Iterable[ObjectKey]:
    return (CLUSTER_INFO,) if config_map["metadata"].get("namespace") == CLUSTER_INFO.namespace else ()


def _if_token(secret: Obj) -> Iterable[ObjectKey]:
    return (CLUSTER_INFO,) if tokens.is_token(secret) else ()
