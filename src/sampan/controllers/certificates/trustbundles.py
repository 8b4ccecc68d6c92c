"""Publishes who signs for the API server as a ClusterTrustBundle (upstream ``clustertrustbundlepublisher``).

Its name ends in a hash of its content, so that what mounts the old one keeps it until it is replaced as a whole. Other
bundles of the signer are the past, and go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from sampan.api.errors import AlreadyExists, NotFound
from sampan.api.reading import part, text
from sampan.api.resources import CLUSTER_TRUST_BUNDLES
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.controllers.context import Context

NAME = "kube-apiserver-serving-clustertrustbundle-publisher"
SIGNER: Final = "kubernetes.io/kube-apiserver-serving"


def bundle(ca_pem: str) -> Obj:
    """The object that should be there. Pure."""
    digest = hashlib.sha256(ca_pem.encode()).digest()[:12].hex()
    return {
        "apiVersion": CLUSTER_TRUST_BUNDLES.api_version,
        "kind": CLUSTER_TRUST_BUNDLES.kind,
        "metadata": {"name": f"{SIGNER.replace('/', ':')}:{digest}"},
        "spec": {"signerName": SIGNER, "trustBundle": ca_pem},
    }


class TrustBundlePublisher:
    def __init__(self, context: Context) -> None:
        self._wanted = bundle(context.config.root_ca_pem)
        self._client = context.client_for(NAME)
        self._bundles = context.informers.informer(CLUSTER_TRUST_BUNDLES, field_selector=f"spec.signerName={SIGNER}")
        self._controller: Controller[str] = Controller(NAME, self.sync, workers=1)
        self._controller.watch(self._bundles, _one_key)

    async def run(self) -> None:
        self._controller.enqueue("")
        await self._controller.run()

    async def sync(self, key: str) -> Result:
        wanted = self._wanted
        name = wanted["metadata"]["name"]
        present = self._bundles.get("", name)
        if present is None:
            try:
                await observe(self._bundles, await self._client.create(CLUSTER_TRUST_BUNDLES, wanted))
            except AlreadyExists:
                return DONE
        elif text(part(present, "spec"), "trustBundle") != wanted["spec"]["trustBundle"]:
            changed = {**present, "spec": {**part(present, "spec"), **wanted["spec"]}}
            await observe(self._bundles, await self._client.update(CLUSTER_TRUST_BUNDLES, changed))
        for other in list(self._bundles.list()):
            if other["metadata"]["name"] != name:
                await self._remove(other["metadata"]["name"])
        return DONE

    async def _remove(self, name: str) -> None:
        try:
            await observe(self._bundles, await self._client.delete(CLUSTER_TRUST_BUNDLES, name))
        except NotFound:
            pass


def _one_key(obj: Obj) -> Iterable[str]:
    return ("",)
