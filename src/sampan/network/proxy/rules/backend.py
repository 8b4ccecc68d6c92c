"""Plans as rules of the kernel's: what is common to ``nftables`` and ``iptables``.

A ``Rendering`` says what a Service needs, in chains and elements; ``Tables`` makes transactions of them real. Rules
outlive the process: on its end they stay, and a restart replaces them. Whoever removes the instance takes them away
(``sampan.network.cni.teardown``). Not for concurrent use: one caller at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, Protocol, TypeVar

from sampan.network.proxy.backend import BackendError
from sampan.network.proxy.config import ProxyConfig
from sampan.network.proxy.model import HostPort
from sampan.network.proxy.plan import ServiceKey, ServicePlan
from sampan.network.proxy.reach import NodeReach
from sampan.network.proxy.rules.claims import Claims, Owner, assemble
from sampan.network.proxy.rules.table import Contents, plan_full, plan_refresh
from sampan.network.proxy.rules.values import NftError, NftUnavailable, Op, Tables

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

_FIXED: Owner = (0, "", "")
#: The changes of more Services than this are found by a thread: it takes milliseconds.
_MANY = 20
#: And so are those of more elements.
_MANY_ELEMENTS = 500
_HOST_PORTS: Owner = (2, "", "")
#: Looks between two tries of what is not taken.
_LONGEST_PAUSE = 64


class Rendering(Protocol):
    """Pure, but for what it remembers to name things by."""

    def base(self) -> Contents:
        """Of a cluster without Services."""
        ...

    def service(self, plan: ServicePlan) -> Contents: ...

    def forget(self, key: ServiceKey) -> None:
        """The Service is gone."""
        ...

    def host_ports(self, ports: Sequence[HostPort]) -> Contents: ...


class RuleBackend:
    """Invariant: while ``_known``, the table holds what ``_claims`` says; otherwise it is written as a whole."""

    def __init__(
        self, config: ProxyConfig, tables: Tables, rendering: Rendering, reach: NodeReach | None = None
    ) -> None:
        self._config = config
        self._reach = reach
        #: looked at since the last ``repair``: all routes are more than a change of one Service is worth
        self._reached = False
        self._tables = tables
        self._rendering = rendering
        self._claims = Claims()
        self._known = False
        self._wanted: dict[Owner, Contents | None] = {_FIXED: rendering.base()}
        #: plans of many endpoints, which are rendered by a thread: by ``apply``
        self._large: dict[ServiceKey, ServicePlan] = {}
        #: what the kernel does not take, until it is wanted otherwise; and how many looks it is left alone for
        self._refused: dict[Owner, Contents] = {}
        self._looks, self._pause = 0, 1

    def plan(self, key: ServiceKey, wanted: ServicePlan | None) -> None:
        self._large.pop(key, None)
        if wanted is None:
            self._rendering.forget(key)
            self._want((1, *key), None)
        elif sum(len(each.choice.cluster) + len(each.choice.local) for each in wanted.ports) > _MANY_ELEMENTS:
            self._large[key] = wanted
        else:
            self._want((1, *key), self._rendering.service(wanted))

    def plan_host_ports(self, ports: Sequence[HostPort]) -> None:
        self._want(_HOST_PORTS, self._rendering.host_ports(ports))

    def _want(self, owner: Owner, contents: Contents | None) -> None:
        self._wants(owner, contents, contents == self._claims.of(owner))

    def _wants(self, owner: Owner, contents: Contents | None, has: bool) -> None:
        self._refused.pop(owner, None)
        if has:
            self._wanted.pop(owner, None)
        else:
            self._wanted[owner] = contents

    async def apply(self) -> bool:
        changed = await self._apply()
        if self._reach is not None and not self._reached:
            self._reached = await self._reach.ensure()
        return changed

    async def _render_large(self) -> None:
        for key, plan in list(self._large.items()):
            contents, has = await _waited(self._rendered, (1, *key), plan)
            del self._large[key]
            self._wants((1, *key), contents, has)

    def _rendered(self, owner: Owner, plan: ServicePlan) -> tuple[Contents, bool]:
        contents = self._rendering.service(plan)
        return contents, contents == self._claims.of(owner)

    async def _apply(self) -> bool:
        await self._render_large()
        if self._known and not self._wanted:
            return False
        wanted = dict(self._wanted)
        try:
            if self._known:
                await self._change(wanted)
            else:
                await self._write({**self._claims.contents(), **wanted})
        except NftError as error:
            await self._apply_apart(wanted, error)
        for owner, contents in wanted.items():
            if self._wanted.get(owner) is contents:
                del self._wanted[owner]
        return True

    async def _apply_apart(self, wanted: Mapping[Owner, Contents | None], error: NftError) -> None:
        """Somebody else changed the table, or one of the changes is not to be had: as it was, and then one by one."""
        before = self._claims.contents()
        if before:
            log.warning("table %s could not be changed, replacing it: %s", self._config.table, error)
        try:
            await self._write({_FIXED: self._rendering.base(), **before})
        except NftError as again:
            raise BackendError(f"table {self._config.table} could not be written: {again}") from again
        await self._change_apart(wanted)

    async def _change_apart(self, wanted: Mapping[Owner, Contents | None]) -> None:
        """In halves and halves of halves, until those that are not taken are alone."""
        try:
            await self._change(wanted)
        except NftError as error:
            if isinstance(error, NftUnavailable) or not await self._exists():
                raise BackendError(f"table {self._config.table} could not be changed: {error}") from error
            self._known = True
            owners = list(wanted)
            if len(owners) > 1:
                for half in (owners[: len(owners) // 2], owners[len(owners) // 2 :]):
                    await self._change_apart({owner: wanted[owner] for owner in half})
                return
            self._refuse(owners[0], wanted[owners[0]], error)

    def _refuse(self, owner: Owner, contents: Contents | None, error: NftError) -> None:
        # However long others have been refused: this one may be taken at the next look.
        self._looks, self._pause = 0, 1
        what = f"Service {owner[1]}/{owner[2]}" if owner[2] else "host ports"
        log.warning("%s stays as it was, the kernel does not take what it asks for: %s", what, error)
        if contents is not None:
            self._refused[owner] = contents

    async def _change(self, wanted: Mapping[Owner, Contents | None]) -> None:
        before = {owner: self._claims.of(owner) for owner in wanted}
        self._known = False
        ops = await self._claim(wanted)
        try:
            if ops:
                await self._tables.apply(ops)
        except BaseException:
            self._claims.change(before)
            raise
        self._known = True

    async def _claim(self, wanted: Mapping[Owner, Contents | None]) -> list[Op]:
        elements = sum(_size(self._claims.of(owner)) + _size(contents) for owner, contents in wanted.items())
        if len(wanted) <= _MANY and elements <= _MANY_ELEMENTS:
            return self._claims.change(wanted)
        return await _waited(self._claims.change, wanted)

    async def _write(self, contents: Mapping[Owner, Contents | None]) -> None:
        """The whole table at once. ``_claims`` is left alone if that fails."""
        present = {owner: value for owner, value in contents.items() if value is not None}
        self._known = False
        await self._tables.apply(await asyncio.to_thread(_whole, present))
        self._claims = await asyncio.to_thread(_claimed, present)
        self._known = True

    async def _exists(self) -> bool:
        try:
            return await self._tables.exists()
        except NftError:
            return False

    async def repair(self, *, whole: bool) -> None:
        table = self._config.table
        self._reached = False
        try:
            if not await self._tables.exists():
                log.warning("table %s is gone; writing it again", table)
                self._known = False
            elif whole and self._known:
                self._wanted = {**self._refused, **self._wanted}
                await self._tables.apply(await asyncio.to_thread(_refreshed, self._claims.contents()))
            elif self._known and self._refused:
                await self._try_refused()
        except BackendError as error:
            log.warning("%s", error)
        except NftError as error:
            log.warning("table %s could not be refreshed, replacing it: %s", table, error)
            self._known = False

    async def _try_refused(self) -> None:
        """It may have been for want of memory, or of anything else that comes back: less and less often. Raises
        BackendError."""
        self._looks += 1
        if self._looks < self._pause:
            return
        again = {owner: contents for owner, contents in self._refused.items() if owner not in self._wanted}
        pause = min(2 * self._pause, _LONGEST_PAUSE)
        try:
            self._refused = {}
            await self._change_apart(again)
        except BackendError:
            self._refused = again
            raise
        finally:
            self._looks, self._pause = 0, pause if self._refused else 1

    async def close(self) -> None:
        self._tables.close()


async def _waited(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread, which may change what is the caller's alone: it ends before he goes on, cancelled or not."""
    thread = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise


def _size(contents: Contents | None) -> int:
    return 0 if contents is None else sum(map(len, contents.collections.values()))


def _whole(contents: Mapping[Owner, Contents]) -> list[Op]:
    return plan_full(assemble(contents))


def _refreshed(contents: Mapping[Owner, Contents]) -> list[Op]:
    return plan_refresh(assemble(contents))


def _claimed(contents: Mapping[Owner, Contents]) -> Claims:
    claims = Claims()
    claims.change(contents)
    return claims
