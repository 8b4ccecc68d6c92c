"""Gives every active namespace its ServiceAccount ``default`` (upstream ``serviceaccounts_controller.go``)."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api import objects
from sampan.api.errors import AlreadyExists, Forbidden
from sampan.api.resources import NAMESPACES, SERVICE_ACCOUNTS
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context

NAME = "service-account-controller"


class ServiceAccountController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._namespaces = context.informers.informer(NAMESPACES)
        self._accounts = context.informers.informer(SERVICE_ACCOUNTS)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, workers=1)
        self._controller.watch(self._namespaces, own_key)
        self._controller.watch(self._accounts, _namespace_of_default)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        namespace = self._namespaces.get(*key)
        if namespace is None or objects.is_deleting(namespace) or self._accounts.get(key.name, "default") is not None:
            return DONE
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": key.name},
        }
        try:
            await observe(self._accounts, await self._client.create(SERVICE_ACCOUNTS, account))
        except AlreadyExists:
            return DONE
        except Forbidden as error:
            if error.cause("NamespaceTerminating") is None:
                raise
        return DONE


def _namespace_of_default(account: Obj) -> Iterable[ObjectKey]:
    meta = account["metadata"]
    return (ObjectKey("", meta["namespace"]),) if meta["name"] == "default" else ()
