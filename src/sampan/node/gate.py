"""Asks ``sampan.node.admission`` on behalf of one node agent: gathers what it judges by.

Used by ``sampan.node.agent``. The Node is the one that the registration saw last, at most ten seconds ago.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from sampan.api.errors import ApiError
from sampan.api.pods.requests import amounts
from sampan.api.pods.status import created, is_terminating, started
from sampan.api.reading import part
from sampan.api.types import Obj
from sampan.node import admission
from sampan.node.config import NodeConfig
from sampan.node.node_status import render_labels
from sampan.node.registration import NodeRegistration
from sampan.node.sysctls import verify_sysctl_patterns

log = logging.getLogger(__name__)


class PodGate:
    def __init__(
        self,
        config: NodeConfig,
        registration: NodeRegistration,
        allocatable: Mapping[str, str],
        pressures: Callable[[], Sequence[str] | None] = lambda: None,
    ) -> None:
        """Raises ValueError for a configuration that allows sysctls which no pod has to itself."""
        verify_sysctl_patterns(config.allowed_unsafe_sysctls)
        self._config = config
        self._registration = registration
        self._allocatable = dict(allocatable)
        self._pressures = pressures

    def judge(self, pod: Obj, others: Sequence[Obj]) -> admission.Refusal | None:
        """``others`` have a claim on the node already. A pod that is being deleted is not judged: it only ends."""
        return None if is_terminating(pod) else admission.admit(pod, self._grounds(pod, others))

    async def look(self) -> None:
        """Sees the Node as it is now: its labels may have come just before the pod. Without an answer it stays."""
        try:
            await self._registration.refresh()
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("node %s: %s", self._config.node_name, error)

    def _grounds(self, pod: Obj, others: Sequence[Obj]) -> admission.Grounds:
        node = self._registration.node or {
            "metadata": {
                "name": self._config.node_name,
                "labels": {**self._config.labels, **render_labels(self._registration.machine, self._config)},
            },
            "spec": {"taints": [dict(taint) for taint in self._config.taints]},
        }
        return admission.Grounds(
            node=node,
            allocatable=amounts({**part(part(node, "status"), "allocatable"), **self._allocatable}),
            others=others,
            supplemental_groups_policy=self._registration.features.supplemental_groups_policy,
            apparmor=self._registration.machine.apparmor,
            selinux=self._registration.machine.selinux,
            lent=self._registration.devices().keys(),
            allowed_unsafe_sysctls=self._config.allowed_unsafe_sysctls,
            pressures=self._pressures(),
            taken_before=started(pod) is not None,
        )


def in_order_of_claims(pods: Sequence[Obj], running: Mapping[str, object]) -> list[Obj]:
    """An agent that begins takes first what runs already, then what was taken before, then the oldest."""

    def rank(pod: Obj) -> tuple[bool, bool, float]:
        since = created(pod)
        uid = part(pod, "metadata").get("uid")
        return uid not in running, started(pod) is None, since.timestamp() if since else 0.0

    return sorted(pods, key=rank)
