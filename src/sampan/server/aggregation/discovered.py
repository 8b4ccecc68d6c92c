"""What each extension API server said last that it serves: for discovery and OpenAPI of the whole.

One that does not answer keeps what it had, marked stale. Everything is bounded: a document in bytes and time, what is
kept of it in numbers.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

import orjson

from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.aggregation import documents
from sampan.server.aggregation.backends import Backends, Unanswered
from sampan.server.aggregation.documents import Nonsense
from sampan.server.aggregation.remotes import GroupVersion, Remote
from sampan.server.threads import is_heavy, paced

log = logging.getLogger(__name__)

DISCOVERY_BYTES: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class Served:
    """Of one group version. ``etag`` is that of the document all of it stands in."""

    resources: tuple[Obj, ...] = ()
    fresh: bool = False
    etag: str = ""


class Discovered:
    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._served: dict[GroupVersion, Served] = {}
        #: grows with each change of what is served
        self.changes = 0

    def version(self, group: str, version: str) -> Obj:
        """The entry of aggregated discovery; one that nothing is known of has no resources."""
        found = self._served.get((group, version), Served())
        freshness = "Current" if found.fresh else "Stale"
        return {"version": version, "resources": list(found.resources), "freshness": freshness}

    def forget(self, key: GroupVersion) -> None:
        if self._served.pop(key, None) is not None:
            self.changes += 1

    def lost(self, remote: Remote) -> None:
        """It does not answer."""
        key = remote.group, remote.version
        self._keep(key, replace(self._served.get(key, Served()), fresh=False))

    async def read(self, remote: Remote) -> bool:
        """Asks what it serves. False: it did not say, or nothing that makes sense."""
        key = remote.group, remote.version
        before = self._served.get(key, Served())
        try:
            found = await self._ask(remote, before)
        except (Unanswered, Nonsense) as error:
            if before.fresh or key not in self._served:
                log.warning("apiservice %s is available and its discovery is not: %s", remote.name, error)
            self.lost(remote)
            return False
        self._keep(key, found)
        return True

    def _keep(self, key: GroupVersion, served: Served) -> None:
        if self._served.get(key) != served:
            self._served[key] = served
            self.changes += 1

    async def _ask(self, remote: Remote, before: Served) -> Served:
        """Raises Unanswered, Nonsense."""
        headers = {"Accept": documents.ACCEPT, "Accept-Encoding": "identity"}
        if before.etag:
            headers["If-None-Match"] = before.etag
        answer = await self._backends.ask(remote, "/apis", DISCOVERY_BYTES, headers)
        if answer.status == 304 and before.etag:
            return replace(before, fresh=True)
        if answer.status == 200:
            found = await paced(is_heavy(answer.body), _listed, answer.body, remote.group, remote.version)
            if found is not None:
                return Served(tuple(found), True, answer.etag)
        return Served(tuple(await self._ask_legacy(remote)), True)

    async def _ask_legacy(self, remote: Remote) -> list[Obj]:
        """Raises Unanswered, Nonsense."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        answer = await self._backends.ask(remote, remote.path, DISCOVERY_BYTES, headers)
        if answer.status != 200:
            raise Nonsense(f"{remote.path} is answered with {answer.status}")
        return await paced(is_heavy(answer.body), _from_list, answer.body, remote.group, remote.version)


def _listed(body: bytes, group: str, version: str) -> list[Obj] | None:
    """None: it is not of the aggregated form, or does not list this. Raises Nonsense."""
    document = _decoded(body)
    return documents.from_aggregated(document, group, version) if documents.is_aggregated(document) else None


def _from_list(body: bytes, group: str, version: str) -> list[Obj]:
    """Raises Nonsense."""
    return documents.from_list(_decoded(body), group, version)


def _decoded(body: bytes) -> Any:
    """Raises Nonsense."""
    try:
        return orjson.loads(body)
    except ValueError as error:
        raise Nonsense("the answer is not JSON") from error
