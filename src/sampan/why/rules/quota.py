"""ResourceQuotas that are used up."""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.reading import part
from sampan.api.resources import RESOURCE_QUOTAS
from sampan.api.types import Obj
from sampan.why.model import Action, Cause, Fix, ref_of
from sampan.why.table import Found, rule
from sampan.why.world import World


@rule("quota-full", RESOURCE_QUOTAS, says="what of the quota is used up")
def full(world: World, quota: Obj) -> Found:
    hard, used = part(part(quota, "status"), "hard"), part(part(quota, "status"), "used")
    out = {name: amount for name, amount in hard.items() if quantity.compare(used.get(name, "0"), amount) >= 0}
    if not out:
        return
    ref = ref_of(RESOURCE_QUOTAS, quota)
    more = {
        name: quantity.add(amount, amount) if quantity.compare(amount, "0") else "1" for name, amount in out.items()
    }
    yield Cause(
        f"{ref.place} is used up: {', '.join(f'{name} {used.get(name)} of {amount}' for name, amount in out.items())}.",
        tuple(f"{name}: {used.get(name, '0')} of {amount}" for name, amount in hard.items()),
        Fix("raise it, or remove what nobody needs", (Action("patch", ref, {"spec": {"hard": more}}),)),
        rank=1,
    )
