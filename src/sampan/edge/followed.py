"""Services and their EndpointSlices, followed from when somebody serves what refers to them: the part that Ingress and
Gateway API have in common. One event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from sampan.api.reading import part, text
from sampan.api.resources import ENDPOINT_SLICES, SERVICES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.informer import ChangeType, InformerFactory

SERVICE_NAME: Final = "kubernetes.io/service-name"
_BY_SERVICE: Final = "service of the edge"

Handler: TypeAlias = Callable[[ChangeType, Obj, Obj | None], None]


class FollowedServices:
    """``shared``: informers that others have too; the handlers are told of each change of either kind."""

    def __init__(self, shared: InformerFactory, service_changed: Handler, slice_changed: Handler) -> None:
        self._shared = shared
        self._service_changed, self._slice_changed = service_changed, slice_changed
        self._wanted, self._known = asyncio.Event(), asyncio.Event()

    @property
    def known(self) -> bool:
        return self._known.is_set()

    async def want(self) -> None:
        """Returns once they are known."""
        self._wanted.set()
        await self._known.wait()

    async def run(self) -> None:
        """From when they are wanted on, until cancelled. Whose component this is keeps the handlers: who reads may
        fail, and be started again, without them."""
        await self._wanted.wait()
        try:
            services, slices = self._shared.informer(SERVICES), self._shared.informer(ENDPOINT_SLICES)
            slices.add_index(_BY_SERVICE, _service_of)
            services.add_handler(self._service_changed)
            slices.add_handler(self._slice_changed)
            await services.synced()
            await slices.synced()
            self._known.set()
            await tasks.forever()
        finally:
            self._known.set()  # who waits for this one waits for nobody, if it ends

    def get(self, namespace: str, name: str) -> Obj | None:
        return self._shared.informer(SERVICES).get(namespace, name)

    def slices(self, namespace: str, name: str) -> list[Obj]:
        return list(self._shared.informer(ENDPOINT_SLICES).by_index(_BY_SERVICE, f"{namespace}/{name}"))


def service_name(endpoint_slice: Obj) -> str:
    return text(part(part(endpoint_slice, "metadata"), "labels"), SERVICE_NAME)


def _service_of(endpoint_slice: Obj) -> Iterable[str]:
    name = service_name(endpoint_slice)
    return (f"{text(part(endpoint_slice, 'metadata'), 'namespace')}/{name}",) if name else ()
