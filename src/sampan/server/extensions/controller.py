"""Serves what CustomResourceDefinitions declare: names and conditions, the surface, the end of a definition.

One loop follows the definitions in the server's own cache. What has changed in the meantime is looked at together: the
surface is replaced once, and then each definition is told what became of it, so that whoever sees ``Established`` finds
the resource served. A definition that makes no sense costs itself only.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from sampan.api.clock import Clock
from sampan.api.customresources import naming
from sampan.api.customresources.naming import Names, Verdict
from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.reading import part, text
from sampan.api.registry import Registry
from sampan.api.transport import EventType, Transport
from sampan.api.types import Obj
from sampan.server.extensions.conversion import Asks, WebhookConverter
from sampan.server.extensions.finalizing import Finalizing
from sampan.server.extensions.held import Held, fingerprint, registry_with
from sampan.server.extensions.room import Room
from sampan.server.extensions.status import CRDS, status_call
from sampan.server.openapi.merged import Published
from sampan.server.storage import Converter, ResourceStorage
from sampan.server.surface import Surface, Surfaces
from sampan.server.threads import is_heavy, paced
from sampan.store.protocol import EntryDamaged, Store

if TYPE_CHECKING:
    from sampan.api.customresources.kinds import Compile, Served

log = logging.getLogger(__name__)

#: definitions that are looked at together: who waits longest waits for these, however many come
_AT_ONCE: Final = 16
#: more definitions than the loop goes through itself
_MANY: Final = 50
#: statuses written at the same time
_CONCURRENCY: Final = 16
#: until a status that could not be written is tried again: twice as long after each failure
_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 30.0


#: by name the definition and its revision; None: it is gone
Changed: TypeAlias = Mapping[str, tuple[Obj, int] | None]


class Extensions:
    """Invariants: ``_held`` has what the surface serves, and the names of every definition that has any."""

    def __init__(
        self,
        surfaces: Surfaces,
        builtin: Registry,
        store: Store,
        clock: Clock,
        compile_version: Compile,
        webhooks: Asks,
        new_uid: Callable[[], str],
    ) -> None:
        self._surfaces, self._builtin, self._store = surfaces, builtin, store
        self._clock, self._compile = clock, compile_version
        self._webhooks, self._new_uid = webhooks, new_uid
        self._held: dict[str, Held] = {}
        #: what has changed since it was looked at, at which revision; None: it is gone
        self._changed: dict[str, tuple[Obj, int] | None] = {}
        #: what is to be read in the cache and looked at
        self._unread: dict[str, None] = {}
        self._waits: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._finalizing = Finalizing(surfaces, clock)
        #: that are being looked at
        self._looking = 0
        #: who waits until all that has changed is served
        self._settled: asyncio.Future[None] | None = None
        self.room = Room(lambda: len(self._changed) + len(self._unread) + self._looking)
        #: for OpenAPI, made when it is asked for
        self._published: Sequence[Published] | None = None

    async def load(self) -> None:
        """Serves what is stored already: before the server answers anybody. Raises StoreError."""
        await self._read_all()
        while changed := await self._take():
            await self._serve_changed(changed)

    async def run(self, transport: Transport) -> None:
        """Follows the definitions, and tells them by ``transport``, until cancelled."""
        stop = self._definitions.cache.subscribe(self._on_change, keep=False)
        try:
            await self._read_all()
            async with asyncio.TaskGroup() as group:
                self._finalizing.begin(group, transport)
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    while changed := await self._take():
                        self._looking = len(changed)
                        try:
                            await self._look(changed, transport)
                        finally:
                            self._looking = 0
                        self.room.let_in()
                    self.room.let_in()  # what was to be looked at may be gone
                    self._tell_settled()
        finally:
            stop()

    async def settled(self, seconds: float) -> None:
        """Returns once everything that the cache shows is served; after ``seconds`` in any case."""
        if not (self._changed or self._unread or self._looking):
            return
        if self._settled is None or self._settled.done():
            self._settled = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._settled)

    def _tell_settled(self) -> None:
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def published(self) -> Sequence[Published]:
        """For OpenAPI: every served version of what is established."""
        if self._published is None:
            self._published = tuple(self._publish())
        return self._published

    def _publish(self) -> Iterator[Published]:
        kinds = self._surfaces.current.kinds
        digests = {
            (one.group, version, one.plural): digest
            for held in self._held.values()
            if (one := held.served) is not None
            for version, digest in one.digests.items()
        }
        for group, version, plural in sorted(digests):
            kind = kinds.by_resource(group, version, plural)
            if kind is not None and kind.custom:
                source = functools.partial(self._source, f"{plural}.{group}")
                yield Published(kind, digests[group, version, plural], source)

    def _source(self, name: str) -> bytes | None:
        storage = self._definitions
        entry = storage.cache.get(storage.key("", name))
        return entry.value if entry is not None and not entry.damaged else None

    @property
    def _definitions(self) -> ResourceStorage:
        view = self._surfaces.current.by_resource(CRDS)
        assert view is not None, "definitions are built in"
        return view.storage

    # What has changed

    def _on_change(self, event: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
        name = text(part(obj, "metadata"), "name")
        self._changed[name] = None if event == "DELETED" else (obj, revision)
        self._wake.set()

    async def _read_all(self) -> None:
        """Everything is to be looked at again; names that were given stay given, whichever is looked at first."""
        storage = self._definitions
        present: set[str] = set()
        for entry in storage.cache.entries():
            name = entry.key.removeprefix(storage.prefix)
            try:
                if name not in self._held:
                    self._held[name] = _unserved(await paced(is_heavy(entry.value), entry.object))
            except EntryDamaged:
                continue
            present.add(name)
        self._changed.update(dict.fromkeys(self._held.keys() - present))
        self._look_again(present)

    def _look_again(self, names: Iterable[str]) -> None:
        """At what the cache has of them by then."""
        self._unread.update(dict.fromkeys(names))
        self._wake.set()

    async def _take(self) -> Changed:
        """The next that are to be looked at; few of them, for decoded they are long."""
        names = list(islice(self._changed, _AT_ONCE))
        changed = {name: self._changed.pop(name) for name in names}
        storage = self._definitions
        while self._unread and len(changed) < _AT_ONCE:
            name, _ = self._unread.popitem()
            entry = storage.cache.get(storage.key("", name))
            if entry is not None and not entry.damaged and name not in changed and name not in self._changed:
                changed[name] = await paced(is_heavy(entry.value), entry.object), entry.revision
        return changed

    # What it means

    async def _look(self, changed: Changed, transport: Transport) -> None:
        """Raises StoreError."""
        tell = functools.partial(self._tell, transport, asyncio.Semaphore(_CONCURRENCY))
        verdicts = await self._serve_changed(changed)
        due = [(name, *found, verdicts[name]) for name, found in changed.items() if found and name in verdicts]
        async with asyncio.TaskGroup() as group:
            for name, obj, revision, verdict in due:
                if name in self._held and self._held[name].ending:
                    self._finalizing.start(name, obj, self._held[name])
                else:
                    group.create_task(tell(name, obj, revision, verdict), name=f"status of {name}")

    async def _serve_changed(self, changed: Changed) -> Mapping[str, Verdict]:
        """Takes in what has changed, and serves it. Raises StoreError: then nothing is taken in."""
        before = dict(self._held)
        for name, found in changed.items():
            if found is None:
                self._held.pop(name, None)
            elif name not in self._held:
                # Names that were given stay given, in whatever order definitions are looked at.
                self._held[name] = _unserved(found[0])
        verdicts = {name: self._judge(name, found[0]) for name, found in changed.items() if found is not None}
        due = [
            (name, found[0], self._held[name].names)
            for name, found in changed.items()
            if found is not None and self._held[name].wanted and self._held[name].served is None
        ]
        if due:
            for name, made in (await paced(True, _made, due, self._compile)).items():
                self._held[name] = replace(self._held[name], served=made)
        try:
            if _shown(before) != _shown(self._held):
                kinds = await self._kinds()
                await self._surfaces.replace(lambda before: self._surface(before, kinds))
                self._published = None
        except BaseException:
            self._held = before
            raise
        freed = {before[name].group for name in before if self._names_of(name) != before[name].names}
        self._look_again(name for name, one in self._held.items() if one.conflict and one.group in freed)
        return verdicts

    def _names_of(self, name: str) -> Names | None:
        return self._held[name].names if name in self._held else None

    def _judge(self, name: str, obj: Obj) -> Verdict:
        """Which names it gets, and whether anything is served of it."""
        held = self._held[name]
        spec, status, metadata = part(obj, "spec"), part(obj, "status"), part(obj, "metadata")
        others = [one.names for other, one in self._held.items() if one.group == held.group and other != name]
        verdict = naming.accept(Names.of(part(spec, "names")), Names.of(part(status, "acceptedNames")), others)
        mark = fingerprint(obj, verdict.names)
        wanted, same = not verdict.reason or naming.is_true(obj, naming.ESTABLISHED), mark == held.fingerprint
        self._held[name] = Held(
            text(metadata, "uid"),
            held.group,
            verdict.names,
            conflict=bool(verdict.reason),
            ending=bool(metadata.get("deletionTimestamp")),
            wanted=wanted,
            fingerprint=mark,
            served=held.served if wanted and same else None,
            converter=held.converter if same else self._converter(spec),
        )
        return verdict

    def _converter(self, spec: Obj) -> Converter | None:
        conversion = part(spec, "conversion")
        return WebhookConverter(conversion, self._webhooks, self._new_uid) if _asks_webhook(conversion) else None

    async def _kinds(self) -> Registry:
        """All that is to be served; with hundreds of definitions it is a thread's work."""
        kinds, refused = await paced(len(self._held) > _MANY, registry_with, self._builtin, list(self._held.values()))
        for one in refused:
            log.warning("%s.%s is not served: a built-in kind has its name", one.names.plural, one.group)
        return kinds

    def _surface(self, before: Surface, kinds: Registry) -> Surface:
        ending = frozenset((one.group, one.names.plural) for one in self._held.values() if one.ending)
        converters = {
            (one.group, one.names.kind): one.converter for one in self._held.values() if one.converter is not None
        }
        return Surface.build(kinds, self._store, kept=before, converters=converters, ending=ending)

    # What the definitions are told

    async def _tell(
        self, transport: Transport, gate: asyncio.Semaphore, name: str, obj: Obj, revision: int, verdict: Verdict
    ) -> None:
        status = naming.named_status(obj, verdict, self._clock.now())
        if status == part(obj, "status"):
            self._waits.pop(name, None)
            return
        async with gate:
            try:
                await transport.call(status_call(name, revision, status))
            except (Conflict, NotFound):
                return  # it is another by now, which is looked at in its turn
            except ApiError as error:
                wait = self._waits[name] = min(
                    2 * self._waits.get(name, _FIRST_WAIT_SECONDS / 2), _LONGEST_WAIT_SECONDS
                )
                log.warning("the status of %s could not be written: %s", name, error.message)
                asyncio.get_running_loop().call_later(wait, self._look_again, (name,))
                return
        self._waits.pop(name, None)


def _made(due: Sequence[tuple[str, Obj, Names]], compile_version: Compile) -> Mapping[str, Served | None]:
    """What each of these serves; None: nobody can make sense of it. For a thread."""
    from sampan.api.customresources.kinds import served  # late: a cluster may have no definitions

    found: dict[str, Served | None] = {}
    for name, obj, names in due:
        try:
            found[name] = served(obj, names, compile_version)
        except Exception:  # damaged, or our bug: it costs this definition
            log.warning("%s cannot be served", name, exc_info=True)
            found[name] = None
    return found


def _asks_webhook(conversion: Obj) -> bool:
    return text(conversion, "strategy") == "Webhook"


def _unserved(obj: Obj) -> Held:
    """A definition that nobody has looked at."""
    names = Names.of(part(part(obj, "status"), "acceptedNames"))
    group = text(part(obj, "spec"), "group")
    return Held("", group, names, conflict=False, ending=False, wanted=False, fingerprint=(), served=None)


def _shown(held: Mapping[str, Held]) -> Sequence[tuple[int, bool]]:
    """What of it the surface depends on."""
    return [(id(one.served), one.ending) for _, one in sorted(held.items()) if one.served is not None]
