"""What a Lease says of a leader, and what a candidate writes into it (client-go ``resourcelock``). Pure.

Times of day in a Lease are for people. Whether it has run out is judged by who looks at it, from the moment at which
he saw its record change, on his own clock: so clocks need not agree, only run at about the same speed.
"""

from __future__ import annotations

import math
from typing import Any

from sampan.api.resources import LEASES
from sampan.api.types import Obj
from sampan.records import dataclass

#: Candidates must not retry in step: a pause is up to so many times longer (client-go ``JitterFactor``).
JITTER = 1.2


class WrongElection(ValueError):
    """The durations of an election do not fit each other; in client-go's words."""


@dataclass(frozen=True, slots=True)
class ElectionConfig:
    """Defaults as upstream's components.

    ``sole``: the one API server that decides on the lease is in this process, and nobody else writes its store. Then
    the lease cannot pass to another without this process seeing it at once, so a slow store ends no term.
    """

    namespace: str
    name: str
    identity: str
    lease_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_seconds: float = 2.0
    sole: bool = False

    def validate(self) -> None:
        """Raises WrongElection."""
        if self.lease_seconds <= self.renew_deadline_seconds:
            raise WrongElection("leaseDuration must be greater than renewDeadline")
        if self.renew_deadline_seconds <= JITTER * self.retry_seconds:
            raise WrongElection("renewDeadline must be greater than retryPeriod*JitterFactor")
        if self.lease_seconds < 1:
            raise WrongElection("leaseDuration must be greater than zero")
        if self.retry_seconds <= 0:
            raise WrongElection("retryPeriod must be greater than zero")
        if not self.identity:
            raise WrongElection("Lock identity is empty")


def _spec(lease: Obj | None) -> dict[str, Any]:
    spec = (lease or {}).get("spec")
    return spec if isinstance(spec, dict) else {}


def holder(lease: Obj | None) -> str:
    """ "" is nobody."""
    return str(_spec(lease).get("holderIdentity") or "")


def seconds_of(lease: Obj | None) -> float:
    """For how long its holder has it, from each renewal."""
    found = _spec(lease).get("leaseDurationSeconds")
    return float(found) if isinstance(found, int | float) else 0.0


def says_the_same(lease: Obj | None, other: Obj | None) -> bool:
    """Of who leads; what else is on the object may differ."""
    return lease is not None and other is not None and _spec(lease) == _spec(other)


def claim(config: ElectionConfig, lease: Obj | None, now: str) -> Obj:
    """The Lease by which this candidate leads from ``now`` on, or goes on leading."""
    old = _spec(lease)
    ours = holder(lease) == config.identity
    transitions = int(old.get("leaseTransitions") or 0)
    return _written(
        config,
        lease,
        {
            **_foreign(old),
            "holderIdentity": config.identity,
            # never less than the leader itself reckons with: others would take the lease while it still acts
            "leaseDurationSeconds": math.ceil(config.lease_seconds),
            "acquireTime": (old.get("acquireTime") or now) if ours else now,
            "renewTime": now,
            "leaseTransitions": transitions + (0 if ours or lease is None else 1),
        },
    )


def given_up(config: ElectionConfig, lease: Obj, now: str) -> Obj:
    """The Lease that anybody may take at once."""
    return _written(
        config,
        lease,
        {
            **_foreign(_spec(lease)),
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": int(_spec(lease).get("leaseTransitions") or 0),
        },
    )


def _foreign(old: dict[str, Any]) -> dict[str, Any]:
    """What others keep in a Lease (``strategy``, ``preferredHolder``) stays theirs."""
    return {name: old[name] for name in ("strategy", "preferredHolder") if name in old}


def _written(config: ElectionConfig, lease: Obj | None, spec: dict[str, Any]) -> Obj:
    place = {"name": config.name, "namespace": config.namespace}
    metadata = dict(lease["metadata"]) if lease is not None else place
    return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
