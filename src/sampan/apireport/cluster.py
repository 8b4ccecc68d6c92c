"""The objects of a cluster, as far as they were written in a version that is deprecated or gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from sampan.api.errors import ApiError
from sampan.api.registry import registry
from sampan.api.types import Obj
from sampan.client.client import Client

_PAGE: Final = 500


async def objects(client: Client) -> AsyncIterator[Obj]:
    """Of each kind that has former versions, every object, a page at a time. What may not be listed, or is not served
    there, is left out."""
    today = registry().today()
    former = {(kind.kind, *(kind.stored_as or ())) for kind in registry().kinds() if kind.former}
    for kind in today.stored():
        if (kind.kind, kind.group, kind.version) not in former:
            continue
        token = ""
        while True:
            try:
                page = await client.list(kind.resource, limit=_PAGE, continue_token=token)
            except ApiError:
                break
            for item in page.get("items") or ():
                yield {"apiVersion": kind.api_version, "kind": kind.kind, **item}
            token = (page.get("metadata") or {}).get("continue", "")
            if not token:
                break
