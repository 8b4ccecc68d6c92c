"""An APIService for each group version that this server answers for itself: built-in ones, and custom resources'.

Built-in ones are made or put right once, at the start, and are anybody's to change from then on; those of custom
resources are kept. Spec: kube-aggregator's autoregister controller, whose table ``plan`` is; kube-apiserver's
crdRegistrationController.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, Literal

from sampan.api.clock import Clock, format_time
from sampan.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from sampan.api.groups.apiregistration.apiservice import local_available
from sampan.api.reading import part, parts, text
from sampan.api.resources import API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS
from sampan.api.transport import Call, EventType, Transport
from sampan.api.types import Obj
from sampan.server.aggregation import priorities
from sampan.server.aggregation.conditions import Verdict, with_verdict
from sampan.server.aggregation.priorities import ALWAYS, AUTOMANAGED, ON_START
from sampan.server.aggregation.remotes import GroupVersion, remote_of
from sampan.server.reader import ObjectReader

log = logging.getLogger(__name__)

Step = Literal["create", "update", "delete", ""]
#: the group of APIServices is served before any of them counts
_UNREGISTERED: Final = "apiregistration.k8s.io"
#: writes that are under way together: the store commits them as one batch
_TOGETHER: Final = 32
_FIRST_WAIT_SECONDS: Final = 0.25
_LONGEST_WAIT_SECONDS: Final = 30.0
_LOCAL: Final = local_available(None)


def plan(wanted: Obj | None, found: Obj | None, *, synced: bool, at_start: bool) -> Step:
    """What to do about one APIService. ``synced``: it was looked at before; ``at_start``: it was there before that."""
    managed = _managed(found)
    if found is None:
        return "create" if wanted is not None and not (synced and _managed(wanted) == ON_START) else ""
    if wanted is not None and synced and _managed(wanted) == ON_START:
        return ""
    if managed not in (ON_START, ALWAYS) or (managed == ON_START and (synced or not at_start)):
        return ""
    if wanted is None:
        return "delete"
    return "" if found.get("spec") == wanted["spec"] else "update"


def _managed(obj: Obj | None) -> str:
    return text(part(part(obj, "metadata"), "labels"), AUTOMANAGED)


def served_versions(definition: Obj) -> frozenset[GroupVersion]:
    """The group versions that a CustomResourceDefinition serves, or will when its names are accepted."""
    spec = part(definition, "spec")
    group = text(spec, "group")
    versions = parts(spec, "versions") if group else ()
    return frozenset((group, text(each, "name")) for each in versions if each.get("served") is True)


class Registrar:
    """Level-triggered by name. What cannot be written is tried again, more and more slowly, and holds up no other."""

    def __init__(
        self,
        reader: ObjectReader,
        transport: Transport,
        clock: Clock,
        built_in: Mapping[str, tuple[str, ...]],
        offered: Mapping[str, Obj] | None = None,
    ) -> None:
        """``offered``: objects that are made once if they are not there, and are anybody's from then on."""
        self._reader, self._transport, self._clock = reader, transport, clock
        self._offered = dict(offered or {})
        self._built_in = {
            f"{version}.{group}": priorities.api_service(
                group, version, priorities.of_built_in(group, version), ON_START
            )
            for group, versions in built_in.items()
            if group != _UNREGISTERED
            for version in versions
        }
        #: of each group version of custom resources, the definitions that serve it
        self._definitions: dict[str, set[str]] = {}
        #: of each definition, what it serves
        self._versions: dict[str, frozenset[GroupVersion]] = {}
        self._pending: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._synced: set[str] = set()
        self._at_start: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Runs until cancelled."""
        reader = self._reader
        ends = [
            reader.subscribe(API_SERVICES, self._service_changed, keep=False),
            reader.subscribe(CUSTOM_RESOURCE_DEFINITIONS, self._definition_changed, keep=False),
        ]
        try:
            present = [text(part(obj, "metadata"), "name") for obj in reader.list(API_SERVICES)]
            self._at_start = frozenset(present)
            for definition in reader.list(CUSTOM_RESOURCE_DEFINITIONS):
                self._definition_changed("ADDED", definition, None, 0)
            self._look_at(*self._built_in, *self._offered, *present)
            await self._work()
        finally:
            for end in ends:
                end()

    # -- what changed --------------------------------------------------------------------------------------------

    def _look_at(self, *names: str) -> None:
        self._pending.update(dict.fromkeys(names))
        self._wake.set()

    def _service_changed(self, kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
        self._look_at(text(part(obj, "metadata"), "name"))

    def _definition_changed(self, kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
        definition = text(part(obj, "metadata"), "name")
        now = served_versions(obj) if kind != "DELETED" else frozenset[GroupVersion]()
        before = self._versions.pop(definition, frozenset())
        if now:
            self._versions[definition] = now
        for group, version in now ^ before:
            name = f"{version}.{group}"
            holders = self._definitions.setdefault(name, set())
            if (group, version) in now:
                holders.add(definition)
            else:
                holders.discard(definition)
            if not holders:
                del self._definitions[name]
            self._look_at(name)

    # -- what is done --------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        wait: float | None = None
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                pass  # what could not be written is due again
            self._wake.clear()
            names, self._pending = list(self._pending), {}
            failed: list[str] = []
            for start in range(0, len(names), _TOGETHER):
                together = names[start : start + _TOGETHER]
                done = await asyncio.gather(*(self._sync(name) for name in together))
                failed += [name for name, good in zip(together, done, strict=True) if not good]
            self._pending.update(dict.fromkeys(failed))
            waited = wait or _FIRST_WAIT_SECONDS / 2
            wait = min(2 * waited, _LONGEST_WAIT_SECONDS) if failed else None

    async def _sync(self, name: str) -> bool:
        """False: to be tried again."""
        found = self._reader.get(API_SERVICES, None, name)
        wanted = self._wanted(name)
        step = plan(wanted, found, synced=name in self._synced, at_start=name in self._at_start)
        try:
            match step:
                case "create":
                    await self._transport.call(Call("POST", API_SERVICES.path(), body=wanted))
                case "update":
                    assert wanted is not None
                    body = {**(found or {}), "spec": wanted["spec"]}
                    await self._transport.call(Call("PUT", API_SERVICES.path(name=name), body=body))
                case "delete":
                    await self._transport.call(Call("DELETE", API_SERVICES.path(name=name)))
                case _ if found is not None and remote_of(found) is None:
                    await self._say_available(name, found)
        except (AlreadyExists, Conflict):
            return False  # somebody else was first
        except NotFound:
            pass
        except ApiError as error:
            log.warning("apiservice %s could not be registered: %s", name, error)
            return False
        if self._offered.pop(name, None) is not None:
            return True
        if wanted is not None:
            self._synced.add(name)
        else:
            self._synced.discard(name)
        return True

    def _wanted(self, name: str) -> Obj | None:
        if name in self._built_in:
            return self._built_in[name]
        if name in self._offered:
            return self._offered[name]
        if name in self._definitions:
            version, _, group = name.partition(".")
            return priorities.api_service(group, version, priorities.CUSTOM, ALWAYS)
        return None

    async def _say_available(self, name: str, found: Obj) -> None:
        """One that was somebody else's until now is this server's own."""
        verdict = Verdict(True, str(_LOCAL["reason"]), str(_LOCAL["message"]))
        changed = with_verdict(found, verdict, format_time(self._clock.now()))
        if changed is not None:
            await self._transport.call(Call("PUT", API_SERVICES.path(name=name, subresource="status"), body=changed))
