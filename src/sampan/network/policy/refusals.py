"""Policies that are not enforced as they stand: those who wrote them are told by Events, and the others are enforced.

What cannot be read closes (``reading``). What the back end does not take closes as well: it is found among the others,
and a closed one stands in its place until it changes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sampan.api.clock import Clock
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.events import EventRecorder, reference_to
from sampan.network.policy.backend import Backend, BackendError
from sampan.network.policy.model import Policy, PolicyKey, closed
from sampan.network.policy.planner import Planner

log = logging.getLogger(__name__)

_REASON = "NotEnforced"
_REFUSED = "its rules are refused on node {node}; what would allow allows nothing, what would deny denies everything"


class Refusals:
    """Invariant: the planner has a closed policy in the place of each of ``_refused``."""

    def __init__(self, client: Client, node: str, backend: Backend, clock: Clock) -> None:
        self._node = node
        self._backend = backend
        self._recorder = EventRecorder(client, "sampan-network-policy", node, clock)
        #: what Events are about
        self._about: dict[PolicyKey, Obj] = {}
        self._refused: dict[PolicyKey, Policy] = {}

    async def run(self) -> None:
        """Writes the Events, until cancelled."""
        await self._recorder.run()

    def clear(self) -> None:
        self._about.clear()
        self._refused.clear()

    def put(self, obj: Obj, policy: Policy, planner: Planner) -> None:
        """A policy as it is read, for the planner."""
        self._about[policy.key] = reference_to(obj)
        if self._refused.get(policy.key) == policy:
            return
        self._refused.pop(policy.key, None)
        if policy.faults and planner.policy(policy.key) != policy:
            self._tell(policy.key, "; ".join(policy.faults))
        planner.set_policy(policy.key, policy)

    def drop(self, key: PolicyKey, planner: Planner) -> None:
        self._about.pop(key, None)
        self._refused.pop(key, None)
        planner.set_policy(key, None)

    async def close(self, planner: Planner) -> bool:
        """Closes what the back end refuses. False: it refuses none for itself."""
        try:
            found = await self._among(planner.used())
        except BackendError as error:
            log.warning("which network policy is refused could not be found: %s", error)
            return False
        for policy in found:
            if planner.policy(policy.key) == policy:
                self._refused[policy.key] = policy
                planner.set_policy(policy.key, closed(policy))
                self._tell(policy.key, _REFUSED.format(node=self._node))
        return bool(found)

    async def _among(self, policies: Sequence[Policy]) -> list[Policy]:
        """By halves: few of many are found soon."""
        if not policies or not await self._backend.refuses(policies):
            return []
        if len(policies) == 1:
            return list(policies)
        middle = len(policies) // 2
        return [*await self._among(policies[:middle]), *await self._among(policies[middle:])]

    def _tell(self, key: PolicyKey, words: str) -> None:
        log.warning("%s is not enforced as it stands: %s", key, words)
        about = self._about.get(key)
        if about is not None:
            self._recorder.event(about, "Warning", _REASON, f"not enforced as it stands: {words}")
