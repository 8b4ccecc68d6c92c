"""Aggregated ClusterRoles: the rules of a role with an ``aggregationRule`` are the union of the roles it selects.

``aggregate`` is pure. ``AggregationController.run`` keeps all of them so, as the user
``system:serviceaccount:kube-system:clusterrole-aggregation-controller``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sampan.api import labels
from sampan.api.errors import Conflict, NotFound
from sampan.api.resources import CLUSTER_ROLES
from sampan.api.transport import Call, EventType, Transport
from sampan.api.types import Obj
from sampan.server.reader import ObjectReader


def aggregate(role: Obj, roles: Iterable[Obj]) -> list[Obj]:
    """The rules that ``role`` should have: of every selected role, by name, each rule once. Pure."""
    ordered = sorted(roles, key=lambda candidate: str(candidate["metadata"]["name"]))
    rules: list[Obj] = []
    for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
        for candidate in ordered:
            if candidate["metadata"]["name"] == role["metadata"]["name"]:
                continue
            if labels.from_label_selector(selector).matches(candidate["metadata"].get("labels")):
                rules.extend(rule for rule in candidate.get("rules") or () if rule not in rules)
    return rules


def plan_aggregation(roles: Iterable[Obj]) -> list[Obj]:
    """The aggregated roles whose rules are not what they should be, with the right ones. Pure."""
    known = list(roles)
    changed = []
    for role in known:
        if role.get("aggregationRule"):
            rules = aggregate(role, known)
            if rules != (role.get("rules") or []):
                changed.append({**role, "rules": rules})
    return changed


class AggregationController:
    """Level-triggered: any change of any ClusterRole looks at all of them, once they stop arriving in one go."""

    def __init__(self, reader: ObjectReader, transport: Transport) -> None:
        self._reader, self._transport = reader, transport
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled."""

        def changed(_event: EventType, _obj: Obj, _previous: Obj | None, _revision: int) -> None:
            self._changed.set()

        unsubscribe = self._reader.subscribe(CLUSTER_ROLES, changed)
        try:
            self._changed.set()
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self.sync()
        finally:
            unsubscribe()

    async def sync(self) -> None:
        """One pass. A lost race is left to the pass that the winner's change brings."""
        for role in plan_aggregation(self._reader.list(CLUSTER_ROLES)):
            path = CLUSTER_ROLES.path(name=role["metadata"]["name"])
            try:
                await self._transport.call(Call("PUT", path, body=role))
            except (Conflict, NotFound):
                self._changed.set()
                await asyncio.sleep(0)
