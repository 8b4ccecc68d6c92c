"""Publishes the cluster's CA to each namespace as ConfigMap ``kube-root-ca.crt`` (upstream ``rootcacertpublisher``)."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api import objects
from sampan.api.errors import AlreadyExists
from sampan.api.resources import CONFIG_MAPS, NAMESPACES
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context

NAME = "root-ca-cert-publisher"
CONFIG_MAP = "kube-root-ca.crt"
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def desired_config_map(namespace: str, root_ca_pem: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CONFIG_MAP,
            "namespace": namespace,
            "annotations": {"kubernetes.io/description": _DESCRIPTION},
        },
        "data": {"ca.crt": root_ca_pem},
    }


class RootCaPublisher:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._root_ca_pem = context.config.root_ca_pem
        self._namespaces = context.informers.informer(NAMESPACES)
        self._config_maps = context.informers.informer(CONFIG_MAPS)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, workers=1)
        self._controller.watch(self._namespaces, own_key)
        self._controller.watch(self._config_maps, _namespace_of_bundle)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        namespace = self._namespaces.get(*key)
        if namespace is None or objects.is_deleting(namespace):
            return DONE
        desired = desired_config_map(key.name, self._root_ca_pem)
        present = self._config_maps.get(key.name, CONFIG_MAP)
        if present is None:
            try:
                written = await self._client.create(CONFIG_MAPS, desired)
            except AlreadyExists:
                return DONE
        elif present.get("data") != desired["data"]:
            new = objects.deep_copy(present)
            new["data"] = desired["data"]
            written = await self._client.update(CONFIG_MAPS, new)
        else:
            return DONE
        await observe(self._config_maps, written)
        return DONE


def _namespace_of_bundle(config_map: Obj) -> Iterable[ObjectKey]:
    meta = config_map["metadata"]
    return (ObjectKey("", meta["namespace"]),) if meta["name"] == CONFIG_MAP else ()
