"""Until somebody wants the edge: a machine without Ingresses and Gateways has none of it in memory.

One open request a resource; nothing of the rest of the package is imported here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from sampan.api.errors import ApiError, NotFound
from sampan.api.resources import Resource
from sampan.client.client import Client

_RETRY_SECONDS = 1.0
#: A resource that is not served (yet): a definition may come with the next Helm chart.
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
            await asyncio.sleep(_ABSENT_SECONDS)
        except ApiError:
            await asyncio.sleep(_RETRY_SECONDS)
