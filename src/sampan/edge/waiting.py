"""Until somebody wants the edge: a machine without Ingresses and Gateways has none of it in memory.

One open request a resource; nothing of the rest of the package is imported here.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from sampan.api.errors import ApiError, NotFound
from sampan.api.resources import Resource
from sampan.client.client import Client

_RETRY_SECONDS = 1.0
#: A resource that is not served (yet): the definitions come soon after the cluster, or with the next Helm chart.
_SOON_SECONDS, _SOON_LOOKS = 1.0, 60
_ABSENT_SECONDS = 10.0


async def wanted(client: Client, resources: Sequence[Resource], run: Path) -> None:
    """Returns when there is an object of one of the resources, or a program is left that served one."""
    if (run / "admin.sock").exists():
        return
    looks = [asyncio.create_task(_first(client, resource), name=f"first {resource.kind}") for resource in resources]
    try:
        done, _ = await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
        for look in done:
            look.result()
    finally:
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)


async def _first(client: Client, resource: Resource) -> None:
    absences = _absences()
    while True:
        try:
            listed = await client.list(resource, limit=1)
            if listed.get("items"):
                return
            revision = listed["metadata"]["resourceVersion"]
            async with client.watch(resource, resource_version=revision) as events:
                async for event in events:
                    if event.type == "ADDED":
                        return
                    if event.type == "ERROR":
                        break
        except NotFound:
            await asyncio.sleep(next(absences))
        except ApiError:
            await asyncio.sleep(_RETRY_SECONDS)
        else:  # the server ended the watch; it may end the next one at once
            await asyncio.sleep(_RETRY_SECONDS)


def _absences() -> Iterator[float]:
    """Seconds before each look for a resource that is not served."""
    return itertools.chain(itertools.repeat(_SOON_SECONDS, _SOON_LOOKS), itertools.repeat(_ABSENT_SECONDS))
