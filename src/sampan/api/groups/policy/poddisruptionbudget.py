"""PodDisruptionBudget (policy/v1)."""

from __future__ import annotations

from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind

KINDS = (
    Kind(
        group="policy",
        version="v1",
        kind="PodDisruptionBudget",
        plural="poddisruptionbudgets",
        singular="poddisruptionbudget",
        namespaced=True,
        schema="io.k8s.api.policy.v1.PodDisruptionBudget",
        short_names=("pdb",),
        status=True,
        prepare_create=drop_status,
        generation=True,
        unconditional_update=False,
    ),
)
