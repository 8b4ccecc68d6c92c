"""An informer that begins with the first who wants it: most nodes never see a pod that needs one.

Used for ClusterTrustBundles and for the node's PodCertificateRequests. ``run`` is kept by whoever owns it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sampan.api.clock import Random
from sampan.api.errors import ServiceUnavailable
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.informer import ChangeType, Informer
from sampan.client.signal import Signal

#: who asks waits so long for the first list
_SYNC_SECONDS = 5.0


class LazyInformer:
    """Nothing is asked of the server before ``want``."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        random: Random,
        changed: Callable[[Obj], None],
        *,
        field_selector: str = "",
    ) -> None:
        """``changed``: told of each object that came, changed or went."""
        self._make: Callable[[], Informer] = lambda: Informer(
            client, resource, field_selector=field_selector, random=random
        )
        self._kind = resource.kind
        self._changed = changed
        self._wanted, self._made = Signal(), Signal()
        self._informer: Informer | None = None

    def want(self) -> None:
        self._wanted.set()

    async def informer(self) -> Informer:
        """With what was there when it began. Raises ServiceUnavailable: it is not known yet."""
        self.want()
        try:
            async with asyncio.timeout(_SYNC_SECONDS):
                await self._made.wait()
                assert self._informer is not None
                await self._informer.synced()
        except TimeoutError as error:
            raise ServiceUnavailable(f"{self._kind} informer has not yet synced") from error
        return self._informer

    async def run(self) -> None:
        """Returns only when cancelled."""
        await self._wanted.wait()
        if self._informer is None:
            self._informer = self._make()
            self._made.set()
        self._informer.add_handler(self._tell)
        await self._informer.run()

    def _tell(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        self._changed(obj)
