"""Aggregated ClusterRoles: the rules of a role with an ``aggregationRule`` are the union of the roles it selects.

``aggregate`` is pure. ``AggregationController.run`` keeps all of them so, as the user
``system:serviceaccount:kube-system:clusterrole-aggregation-controller``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import orjson

from sampan.api import labels
from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.reading import part, parts, text
from sampan.api.resources import CLUSTER_ROLES
from sampan.api.transport import Call, EventType, Transport
from sampan.api.types import Obj
from sampan.server.reader import ObjectReader

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 60.0


def aggregate(role: Obj, roles: Iterable[Obj]) -> list[Obj]:
    """The rules that ``role`` should have: of every selected role, by name, each rule once. Pure."""
    ordered = sorted(roles, key=_name)
    rules: dict[bytes, Obj] = {}
    for selector in parts(role.get("aggregationRule"), "clusterRoleSelectors"):
        chosen = labels.from_label_selector(selector)
        for candidate in ordered:
            if _name(candidate) == _name(role):
                continue
            if chosen.matches(part(part(candidate, "metadata"), "labels")):
                for rule in parts(candidate, "rules"):
                    rules.setdefault(orjson.dumps(rule, option=orjson.OPT_SORT_KEYS), rule)
    return list(rules.values())


def _name(role: Obj) -> str:
    return text(part(role, "metadata"), "name")


def plan_aggregation(roles: Iterable[Obj]) -> list[Obj]:
    """The aggregated roles whose rules are not what they should be, with the right ones; a role that is none is left
    as it is. Pure."""
    known = list(roles)
    changed = []
    for role in known:
        if role.get("aggregationRule"):
            try:
                rules = aggregate(role, known)
            except (AttributeError, LookupError, TypeError, ValueError):
                continue
            if rules != (role.get("rules") or []):
                changed.append({**role, "rules": rules})
    return changed


class AggregationController:
    """Level-triggered: any change of any ClusterRole looks at all of them, once they stop arriving in one go.

    What cannot be written is tried again, each time after twice the wait; it holds up no other role, nor the server.
    """

    def __init__(
        self, reader: ObjectReader, transport: Transport, *, first_wait_seconds: float = FIRST_WAIT_SECONDS
    ) -> None:
        self._reader, self._transport, self._first_wait = reader, transport, first_wait_seconds
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled."""

        def changed(_event: EventType, _obj: Obj, _previous: Obj | None, _revision: int) -> None:
            self._changed.set()

        unsubscribe = self._reader.subscribe(CLUSTER_ROLES, changed, keep=False)
        wait: float | None = None
        try:
            self._changed.set()
            while True:
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    pass  # what could not be written is due again
                self._changed.clear()
                if await self.sync():
                    wait = None
                else:
                    wait = self._first_wait if wait is None else min(2 * wait, _LONGEST_WAIT_SECONDS)
        finally:
            unsubscribe()

    async def sync(self) -> bool:
        """One pass. False: something could not be written, and is to be tried again."""
        done = True
        for role in plan_aggregation(self._reader.list(CLUSTER_ROLES)):
            name = _name(role)
            try:
                await self._transport.call(Call("PUT", CLUSTER_ROLES.path(name=name), body=role))
            except (Conflict, NotFound):
                done = False  # somebody else was first
            except ApiError as error:
                done = False
                log.warning("the rules of clusterrole %s could not be aggregated: %s", name, error)
        return done
