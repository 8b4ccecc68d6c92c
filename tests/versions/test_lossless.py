"""What goes from one version to the other and back is what it was, whichever of the two it began in."""

from __future__ import annotations

import random

import pytest
import version_objects as objects

from sampan.api import schema
from sampan.api.kind import Kind
from sampan.api.objects import deep_copy
from sampan.api.registry import registry

CONVERTED = [kind for kind in registry().kinds() if kind.former and kind.to_stored is not None]
SEEDS = 40


def here(kind: Kind, obj: objects.Obj) -> objects.Obj:
    """A converted object as this kind has it."""
    obj |= {"kind": kind.kind, "apiVersion": kind.api_version}
    schema.normalise(kind.node, obj)
    return obj


@pytest.mark.parametrize("kind", CONVERTED, ids=lambda kind: f"{kind.api_version}.{kind.kind}")
def test_an_object_of_a_former_version_comes_back_from_the_stored_one(kind: Kind) -> None:
    stored = registry().storage(kind)
    assert kind.to_stored is not None
    assert kind.from_stored is not None
    for seed in range(SEEDS):
        obj = objects.random_object(kind, random.Random(seed))
        there = here(stored, kind.to_stored(deep_copy(obj)))
        assert schema.unknown_fields(stored.node, deep_copy(there)) == []
        assert here(kind, kind.from_stored(deep_copy(there))) == obj


@pytest.mark.parametrize("kind", CONVERTED, ids=lambda kind: f"{kind.api_version}.{kind.kind}")
def test_a_stored_object_comes_back_from_a_former_version(kind: Kind) -> None:
    stored = registry().storage(kind)
    assert kind.to_stored is not None
    assert kind.from_stored is not None
    for seed in range(SEEDS):
        obj = objects.random_object(stored, random.Random(seed))
        there = here(kind, kind.from_stored(deep_copy(obj)))
        assert schema.unknown_fields(kind.node, deep_copy(there)) == []
        assert here(stored, kind.to_stored(deep_copy(there))) == obj


@pytest.mark.parametrize("kind", CONVERTED, ids=lambda kind: f"{kind.api_version}.{kind.kind}")
def test_any_part_may_be_missing(kind: Kind) -> None:
    """A conversion also sees what one field manager owns."""
    assert kind.to_stored is not None
    assert kind.from_stored is not None
    for seed in range(SEEDS):
        rng = random.Random(seed)
        obj = objects.random_object(kind, rng)
        for key in [key for key in ("spec", "status", "metadata") if rng.random() < 0.5]:
            obj.pop(key, None)
        here(kind, kind.from_stored(here(registry().storage(kind), kind.to_stored(obj))))
