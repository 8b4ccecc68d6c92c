"""The binder's plans at every prefix: whatever is interrupted, comes late or is deleted, one volume has one claim."""

from __future__ import annotations

import itertools
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.api.storage import claims, matching, volumes
from sampan.controllers.persistentvolume.claim import Observed as OfClaim
from sampan.controllers.persistentvolume.claim import plan_claim
from sampan.controllers.persistentvolume.step import Plan
from sampan.controllers.persistentvolume.volume import Observed as OfVolume
from sampan.controllers.persistentvolume.volume import plan_volume

Obj = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = {PERSISTENT_VOLUMES: "volumes", PERSISTENT_VOLUME_CLAIMS: "claims"}


class World:
    """Objects by kind and name, and what the API server keeps of each write: the newest resourceVersion only."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Obj]] = {"volumes": {}, "claims": {}}
        self.numbers = itertools.count(1)

    def put(self, kind: str, obj: Obj) -> None:
        obj = deepcopy(obj)
        obj["metadata"]["resourceVersion"] = str(next(self.numbers))
        self.objects[kind][obj["metadata"]["name"]] = obj

    def plan(self, seen: dict[str, dict[str, Obj]], kind: str, name: str) -> Plan:
        """As the shell observes, on a view that may be old."""
        obj = seen[kind].get(name)
        if obj is None:
            return Plan()
        if kind == "volumes":
            wanted = volumes.claim_key(obj).partition("/")[2]
            return plan_volume(OfVolume(obj, NOW, seen["claims"].get(wanted)))
        if named := claims.volume_name(obj):
            return plan_claim(OfClaim(obj, named=seen["volumes"].get(named)))
        free = matching.FreeVolumes()
        for volume in seen["volumes"].values():
            free.put(volume)
        match = matching.best_kept(seen["volumes"].values(), obj) or free.find(obj, seen["volumes"].get)
        return plan_claim(OfClaim(obj, match=match))

    def carry_out(self, plan: Plan) -> bool:
        """False: there was nothing to write, or the object has changed since it was seen."""
        if plan.write is None:
            return False
        kind, obj = KINDS[plan.write.resource], plan.write.obj
        current = self.objects[kind].get(obj["metadata"]["name"])
        if current is None or current["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            return False
        new = deepcopy(current)
        if plan.write.verb == "status":
            new["status"] = obj["status"]
        else:
            new["metadata"], new["spec"] = obj["metadata"], obj["spec"]
        self.put(kind, new)
        return True

    def settle(self) -> None:
        for _ in range(200):
            keys = [(kind, name) for kind, found in self.objects.items() for name in list(found)]
            before = deepcopy(self.objects)
            for key in keys:
                self.carry_out(self.plan(self.objects, *key))
            if self.objects == before:
                return
        raise AssertionError("the plans never come to an end")

    def check(self) -> None:
        """A claim that is bound has a volume that is bound to it alone."""
        owners: dict[str, str] = {}
        for name, claim in self.objects["claims"].items():
            if not claims.has_annotation(claim, claims.BIND_COMPLETED):
                continue
            volume = self.objects["volumes"].get(claims.volume_name(claim))
            if volume is None:
                continue
            reference = volumes.claim_ref(volume) or {}
            if reference.get("uid") == claim["metadata"]["uid"]:
                assert claims.volume_name(claim) not in owners, "two claims have one volume"
                owners[claims.volume_name(claim)] = name
            assert volumes.capacity_bytes(volume) >= claims.requested_bytes(claim)


def volume(name: str, size: int, kept_for: str | None = None) -> Obj:
    spec: Obj = {"capacity": {"storage": f"{size}Gi"}, "accessModes": ["ReadWriteOnce"]}
    spec["persistentVolumeReclaimPolicy"] = "Retain"
    if kept_for is not None:
        spec["claimRef"] = {"namespace": "ns", "name": kept_for}
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec, "status": {"phase": "Pending"}}


def claim(name: str, size: int, life: int, volume_name: str | None = None) -> Obj:
    spec: Obj = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{size}Gi"}}}
    spec["storageClassName"] = ""
    if volume_name is not None:
        spec["volumeName"] = volume_name
    meta = {"name": name, "namespace": "ns", "uid": f"uid-{name}-{life}"}
    return {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}}


NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("volume"), NAMES, st.integers(1, 3), st.none() | NAMES),
        st.tuples(st.just("claim"), NAMES, st.integers(1, 3), st.none() | NAMES),
        st.tuples(st.just("look"), st.sampled_from(["volumes", "claims"]), NAMES),
        st.tuples(st.just("late"), st.sampled_from(["volumes", "claims"]), NAMES),
        st.tuples(st.just("remember")),
        st.tuples(st.just("delete"), st.sampled_from(["volumes", "claims"]), NAMES),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_one_volume_has_one_claim_at_any_prefix_and_all_comes_to_rest(steps: list[Any]) -> None:
    """A write that was planned on an old view is refused by its resourceVersion; every other prefix is a state that
    the next look goes on from."""
    world, lives = World(), itertools.count()
    old = deepcopy(world.objects)
    for step in steps:
        match step:
            case ("volume", name, size, kept_for) if name not in world.objects["volumes"]:
                world.put("volumes", volume(name, size, kept_for))
            case ("claim", name, size, volume_name) if name not in world.objects["claims"]:
                world.put("claims", claim(name, size, next(lives), volume_name))
            case ("look", kind, name):
                world.carry_out(world.plan(world.objects, kind, name))
            case ("late", kind, name):
                world.carry_out(world.plan(old, kind, name))
            case ("remember",):
                old = deepcopy(world.objects)
            case ("delete", kind, name):
                world.objects[kind].pop(name, None)
        world.check()
    world.settle()
    world.check()
    for found in world.objects["claims"].values():
        assert found["status"]["phase"] in ("Pending", "Bound", "Lost")
        if found["status"]["phase"] == "Pending" and not claims.volume_name(found):
            mine = [each for each in world.objects["volumes"].values() if matching.fits(each, found)]
            assert not mine, "a claim waits while a volume that fits is free"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), max_size=12), st.integers(1, 9))
def test_the_smallest_volume_that_fits_is_found(sizes: list[tuple[int, int]], wanted: int) -> None:
    """Against a search of all."""
    known = {f"v{number}": volume(f"v{number}", size) for number, (size, _) in enumerate(sizes)}
    free = matching.FreeVolumes()
    for number, (_, state) in enumerate(sizes):
        found = known[f"v{number}"]
        found["status"]["phase"] = "Available" if state else "Released"
        free.put(found)
        if state == 3:
            free.drop(found["metadata"]["name"])
            del known[found["metadata"]["name"]]
    asked = claim("c", wanted, 0)
    match = free.find(asked, known.get)
    fitting = [each for each in known.values() if matching.fits(each, asked)]
    best = min(map(volumes.capacity_bytes, fitting), default=None)
    assert (None if match is None else volumes.capacity_bytes(match)) == best
