"""Random patches of every kind, of each type, sound and hostile: what they leave has the form of its type."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import suite_samples
from fuzz_asking import Ask
from fuzz_form import faults
from fuzz_seeds import seed
from fuzz_values import ODD, Maker
from test_random_writes import STORED, name_of, url_of

from sampan.api import schema
from sampan.api.kind import Kind

TRIES = suite_samples.of(15, 6)
_MERGE, _STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
_DIRECTIVES: tuple[tuple[str, Any], ...] = (
    ("$patch", "replace"), ("$patch", "delete"), ("$patch", "bogus"), ("$patch", 5), ("$retainKeys", ["a"]),
    ("$retainKeys", 1), ("$setElementOrder/containers", [{"name": "a"}]), ("$setElementOrder/ports", None),
    ("$setElementOrder/finalizers", ["a"]), ("$deleteFromPrimitiveList/finalizers", ["a"]),
    ("$deleteFromPrimitiveList/args", "x"), ("$setElementOrder/", []), ("$deleteFromPrimitiveList/", [[]]),
)  # fmt: skip


def pieces(maker: Maker, obj: Any) -> Any:
    """A part of an object, down one of its branches."""
    if isinstance(obj, dict) and obj:
        key = maker.rng.choice(sorted(obj))
        return {key: pieces(maker, obj[key]) if maker.rng.random() < 0.8 else None}
    return copy.deepcopy(obj)


def strategic(maker: Maker, patch: Any) -> Any:
    """The same with a directive somewhere."""
    holder = patch
    while isinstance(holder, dict) and holder and maker.rng.random() < 0.7:
        below = next(iter(holder.values()))
        if not isinstance(below, dict):
            break
        holder = below
    if isinstance(holder, dict):
        name, value = maker.rng.choice(_DIRECTIVES)
        holder[name] = copy.deepcopy(value)
    return patch


def operations(maker: Maker, obj: Any) -> list[dict[str, Any]]:
    found = []
    for _ in range(maker.rng.choice((1, 2, 3))):
        path, holder = "", obj
        while isinstance(holder, dict | list) and holder and maker.rng.random() < 0.8:
            step = maker.rng.choice(sorted(holder) if isinstance(holder, dict) else list(range(len(holder))))
            path += "/" + str(step).replace("~", "~0").replace("/", "~1")
            holder = holder[step]
        path += maker.rng.choice(("", "", "/-", "/0", "/-1", "/x", "/9"))
        operation = {"op": maker.rng.choice(("add", "remove", "replace", "move", "copy", "test", "fly")), "path": path}
        if maker.rng.random() < 0.8:
            operation["value"] = copy.deepcopy(maker.rng.choice((*ODD, holder)))
        if maker.rng.random() < 0.5:
            operation["from"] = maker.rng.choice(("/spec", "/metadata/name", path, "/x", ""))
        found.append(operation)
    return found


@pytest.mark.parametrize("kind", STORED, ids=name_of)
async def test_random_patches_are_answered_and_leave_an_object_in_the_form_of_its_type(ask: Ask, kind: Kind) -> None:
    maker, obj = Maker(f"patch {name_of(kind)}"), seed(kind)
    item = f"{url_of(kind)}/{obj['metadata']['name']}"
    assert isinstance(kind.node, schema.ObjectNode)
    made = await ask("POST", url_of(kind), obj)
    assert made.status == 201, made.body
    stored, accepted = made.obj, 0
    for _ in range(TRIES):
        changed, hostile = maker.changed(kind.node, stored), maker.hostile(kind.node, stored)
        for body, content_type in (
            (pieces(maker, changed), _MERGE),
            (pieces(maker, hostile), _MERGE),
            (pieces(maker, changed), _STRATEGIC),
            (strategic(maker, pieces(maker, changed)), _STRATEGIC),
            (strategic(maker, pieces(maker, hostile)), _STRATEGIC),
            (operations(maker, stored), "application/json-patch+json"),
            ({**obj, **pieces(maker, changed)}, "application/apply-patch+yaml"),
            (hostile, "application/apply-patch+yaml"),
        ):
            query = "&fieldManager=f&force=true" if content_type.endswith("yaml") else ""
            answer = await ask("PATCH", f"{item}?dryRun=All{query}", body, content_type)
            if answer.status == 200:
                accepted += 1
                assert list(faults(kind.schema, answer.obj)) == [], (content_type, body)
    assert accepted
