"""The objects of a cluster, as far as they were written in a version that is deprecated or gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

from sampan.api.errors import ApiError, Forbidden, NotFound
from sampan.api.kind import Kind
from sampan.api.registry import registry
from sampan.api.types import Obj
from sampan.client.client import Client

_PAGE: Final = 500


async def objects(client: Client, refused: list[str]) -> AsyncIterator[Obj]:
    """Of each kind that has former versions, every object, a page at a time, in today's version or, on an old cluster,
    in one that it serves. What may not be listed is told in ``refused``, as is the error that ended the look."""
    for versions in _versions():
        for kind in versions:
            try:
                async for item in _listed(client, kind):
                    yield item
                break
            except NotFound:
                continue
            except Forbidden as error:
                refused.append(error.message)
                break
            except ApiError as error:
                refused.append(error.message)
                return


def _versions() -> Iterator[list[Kind]]:
    """A kind that has former versions: as it is stored, then those, as they are registered."""
    former: dict[tuple[str, ...], list[Kind]] = {}
    for kind in registry().kinds():
        if kind.former:
            former.setdefault((kind.kind, *(kind.stored_as or ())), []).append(kind)
    for kind in registry().today().stored():
        if found := former.get((kind.kind, kind.group, kind.version)):
            yield [kind, *found]


async def _listed(client: Client, kind: Kind) -> AsyncIterator[Obj]:
    """Raises ApiError."""
    token = ""
    while True:
        page = await client.list(kind.resource, limit=_PAGE, continue_token=token)
        for item in page.get("items") or ():
            yield {"apiVersion": kind.api_version, "kind": kind.kind, **item}
        token = (page.get("metadata") or {}).get("continue", "")
        if not token:
            return
