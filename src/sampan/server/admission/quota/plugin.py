"""ResourceQuota: the last plugin, for it takes something. Refuses with upstream's words."""

from __future__ import annotations

from functools import partial
from typing import Final

from sampan.api import errors
from sampan.api.kind import Kind
from sampan.api.quota.charging import Refused, Uncovered, demand_of
from sampan.api.quota.evaluators import IGNORED, Evaluator, evaluator_of
from sampan.server.admission.base import Plugin, refuse
from sampan.server.admission.quota.ledger import Ledger
from sampan.server.attributes import AdmissionAttributes
from sampan.server.threads import paced

#: A change of these that adds nothing may bring them under another quota: a pod gets a deadline, a claim a class.
_SCOPED: Final = frozenset({"pods", "persistentvolumeclaims"})


class ResourceQuota(Plugin):
    name = "ResourceQuota"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._evaluators: dict[tuple[str, str], Evaluator | None] = {}

    def takes(self, kind: Kind, namespace: str) -> bool:
        """Whether a write there may be charged."""
        limits = self._ledger.limits_all or self._ledger.quotas.any(namespace)
        return bool(namespace) and limits and (kind.group, kind.plural) not in IGNORED

    async def validate(self, attributes: AdmissionAttributes) -> None:
        """Raises Forbidden, InternalError."""
        operation, obj = attributes.operation, attributes.obj
        if obj is None or operation not in ("CREATE", "UPDATE"):
            return
        if not self.takes(attributes.kind, attributes.namespace):
            return
        evaluator = self._evaluator(attributes.kind)
        old = attributes.old if operation == "UPDATE" else None
        if evaluator is None or not evaluator.handles(operation, attributes.subresource, obj, old or {}):
            return
        heavy = attributes.request.heavy
        free = attributes.subresource == "status"
        try:
            demand = await paced(heavy, partial(demand_of, free=free), evaluator, obj, old, self._ledger.clock.now())
            if old is not None and not demand.changes and attributes.kind.plural not in _SCOPED:
                return
            ledger = self._ledger.of(attributes.namespace)
            taken = await ledger.charge(demand, heavy=heavy, dry_run=attributes.dry_run)
        except Uncovered as error:
            raise errors.InternalError(str(error)) from error
        except Refused as error:
            raise refuse(attributes, str(error)) from error
        if taken is not None:
            attributes.settling.append(partial(ledger.settle, taken))

    def _evaluator(self, kind: Kind) -> Evaluator | None:
        resource = (kind.group, kind.plural)
        if resource not in self._evaluators:
            self._evaluators[resource] = evaluator_of(resource)
        return self._evaluators[resource]
