"""The OpenAPI of what API servers behind this one serve, and with it the documents of everything.

Read in the rounds of ``following``, so that nobody who asks for a document waits for a stranger: but for one of v3,
which is theirs alone and fetched when it is asked for. Bounded in bytes, of each and of all.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import field
from typing import Final
from urllib.parse import parse_qs, urlsplit

import orjson

from sampan.api.errors import ServiceUnavailable
from sampan.api.reading import part, text
from sampan.records import dataclass
from sampan.server.aggregation.backends import Backends, Unanswered
from sampan.server.aggregation.fragments import Fragment, Unusable, fragment_of
from sampan.server.aggregation.remotes import GroupVersion, Remote
from sampan.server.threads import aside

log = logging.getLogger(__name__)

DOCUMENT_BYTES: Final = 4 << 20
INDEX_BYTES: Final = 1 << 20
#: of the fragments of all
KEPT_BYTES: Final = 16 << 20
#: how often a document without an ETag is read again
_BLIND_SECONDS: Final = 600.0


@dataclass(slots=True)
class _Known:
    """Of one APIService. ``url``, ``hash``: its v3 document; "" if it has none."""

    url: str = ""
    hash: str = ""
    fragment: Fragment = field(default_factory=Fragment)
    etag: str = ""
    read_again_at: float = 0.0


class Described:
    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._known: dict[GroupVersion, _Known] = {}

    def forget(self, key: GroupVersion) -> None:
        self._known.pop(key, None)

    async def read(self, remote: Remote) -> None:
        """Asks what has changed; what it does not say stays as it was."""
        known = self._known.setdefault((remote.group, remote.version), _Known())
        for read in (self._read_index, self._read_v2):
            try:
                await read(remote, known)
            except (Unanswered, Unusable) as error:
                log.info("apiservice %s has no OpenAPI of this form: %s", remote.name, error)

    async def _read_index(self, remote: Remote, known: _Known) -> None:
        """Raises Unanswered."""
        answer = await self._backends.ask(remote, "/openapi/v3", INDEX_BYTES, _json_only())
        try:
            index = await aside(orjson.loads, answer.body) if answer.status == 200 else {}
        except ValueError:
            index = {}
        url = text(part(part(index, "paths"), remote.path.removeprefix("/")), "serverRelativeURL")
        if not url.startswith("/openapi/v3/") or not url.isascii() or not url.isprintable() or " " in url:
            known.url = known.hash = ""
            return
        said = parse_qs(urlsplit(url).query).get("hash", [""])[0]
        known.url, known.hash = url, said if said.isalnum() else hashlib.sha256(url.encode()).hexdigest().upper()

    async def _read_v2(self, remote: Remote, known: _Known) -> None:
        """Raises Unanswered, Unusable."""
        now = asyncio.get_running_loop().time()
        if not known.etag and now < known.read_again_at:
            return
        known.read_again_at = now + _BLIND_SECONDS
        headers = {**_json_only(), **({"If-None-Match": known.etag} if known.etag else {})}
        answer = await self._backends.ask(remote, "/openapi/v2", DOCUMENT_BYTES, headers)
        if answer.status == 304:
            return
        known.fragment, known.etag = Fragment(), ""
        if answer.status == 200:
            found = await aside(fragment_of, answer.body, remote)
            if found.size + sum(each.fragment.size for each in self._known.values()) > KEPT_BYTES:
                raise Unusable("all of them together say too much")
            known.fragment, known.etag = found, answer.etag

    # -- what documents are made of ------------------------------------------------------------------------------

    def fragments(self) -> list[Fragment]:
        found = [known.fragment for _, known in sorted(self._known.items())]
        return [fragment for fragment in found if fragment.digest]

    def v3_index(self) -> Mapping[str, str]:
        return {f"apis/{group}/{version}": known.hash for (group, version), known in self._known.items() if known.hash}

    async def v3(self, remote: Remote) -> tuple[bytes, str, str] | None:
        """(body, content type, hash); None: it has none. Raises ServiceUnavailable."""
        known = self._known.get((remote.group, remote.version))
        if known is None or not known.hash:
            return None
        url, hash_ = known.url, known.hash
        try:
            answer = await self._backends.ask(remote, url, DOCUMENT_BYTES, _json_only())
        except Unanswered as error:
            raise ServiceUnavailable(f"error trying to reach service: {error}") from error
        if answer.status != 200:
            raise ServiceUnavailable(f"the OpenAPI document of {remote.name} is answered with {answer.status}")
        return answer.body, "application/json", hash_


def _json_only() -> dict[str, str]:
    return {"Accept": "application/json", "Accept-Encoding": "identity"}
