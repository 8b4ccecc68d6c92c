"""Creates and deletes pods of an owner, with its events; large batches start slowly. The acting half of pod owners."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from sampan.api import objects
from sampan.api.errors import ApiError, Forbidden, NotFound
from sampan.api.resources import PODS, Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.controller import observe
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.controllers.workload.claims import controller_reference
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many steps of a batch succeeded, and the first error."""

    succeeded: int = 0
    error: ApiError | None = None


async def slow_start(count: int, step: Callable[[int], Awaitable[None]], initial: int = 1) -> Outcome:
    """Runs steps 0..count-1 in batches of 1, 2, 4 ...; a batch with a failure is the last.

    When the API refuses all creates (quota), one request shows it instead of hundreds.
    """
    done = succeeded = 0
    size = min(count, initial)
    while size:
        results = await asyncio.gather(*(step(done + i) for i in range(size)), return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        succeeded += size - len(errors)
        done += size
        for error in errors:
            if not isinstance(error, ApiError):
                raise error
        if errors:
            first = errors[0]
            assert isinstance(first, ApiError)
            return Outcome(succeeded, first)
        size = min(2 * size, count - done)
    return Outcome(succeeded)


def pod_from_template(template: Obj, owner: Obj, owner_resource: Resource) -> Obj:
    """The pod a template describes. Pure; shares nothing with the template."""
    source = template.get("metadata") or {}
    meta: Obj = {"generateName": f"{owner['metadata']['name']}-", "namespace": owner["metadata"]["namespace"]}
    for field in ("labels", "annotations", "finalizers"):
        if source.get(field):
            meta[field] = objects.deep_copy(source[field])
    meta["ownerReferences"] = [controller_reference(owner, owner_resource)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": objects.deep_copy(template.get("spec") or {})}


class PodControl:
    """Writes pods for owners of one resource and waits until the informer has seen each write."""

    def __init__(self, client: Client, pods: Informer, owner_resource: Resource, recorder: EventRecorder) -> None:
        self._client = client
        self._pods = pods
        self._owner_resource = owner_resource
        self._recorder = recorder

    async def create(self, owner: Obj, pod: Obj) -> None:
        """``pod`` is given away."""
        try:
            created = await self._client.create(PODS, pod, shared=True)
        except ApiError as error:
            if not is_terminating_namespace(error):
                self._recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {created['metadata']['name']}")
        await observe(self._pods, created)

    async def create_many(self, owner: Obj, template: Obj, count: int) -> Outcome:
        async def step(index: int) -> None:
            await self.create(owner, pod_from_template(template, owner, self._owner_resource))

        return await slow_start(count, step)

    async def delete(self, owner: Obj, pod: Obj) -> None:
        meta = pod["metadata"]
        try:
            answer = await self._client.delete(PODS, meta["name"], meta["namespace"], uid=meta["uid"])
        except NotFound:
            return
        except ApiError as error:
            self._recorder.event(owner, "Warning", "FailedDelete", f"Error deleting: {error.message}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta['name']}")
        await observe(self._pods, answer, meta["namespace"])

    async def delete_many(self, owner: Obj, pods: Sequence[Obj]) -> Outcome:
        # Upstream deletes a whole burst at once: refusals of deletes are rare and do not come in hundreds.
        return await slow_start(len(pods), lambda index: self.delete(owner, pods[index]), initial=max(1, len(pods)))


def is_terminating_namespace(error: ApiError) -> bool:
    return isinstance(error, Forbidden) and error.cause("NamespaceTerminating") is not None
