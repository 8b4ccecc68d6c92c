"""DefaultBinder: binds by POST to pods/NAME/binding."""

from __future__ import annotations

from sampan.api.resources import PODS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.scheduler.framework import SUCCESS, Status
from sampan.scheduler.podinfo import PodInfo


class DefaultBinder:
    name = "DefaultBinder"

    def __init__(self, client: Client) -> None:
        self._client = client

    async def bind(self, pod: PodInfo, node: str) -> Status:
        """Raises ApiError: Conflict when the pod has a node, NotFound when it is gone."""
        metadata = {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}
        binding: Obj = {
            "kind": "Binding",
            "apiVersion": "v1",
            "metadata": metadata,
            "target": {"kind": "Node", "name": node},
        }
        await self._client.create(PODS, binding, pod.namespace, name=pod.name, subresource="binding", shared=True)
        return SUCCESS
