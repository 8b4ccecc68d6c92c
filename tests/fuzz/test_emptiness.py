"""Both halves of emptiness: what upstream's structs leave out when it is empty is never shown, and what they always
write is shown though it is empty, by whatever way an empty value came.

Every field of every struct that the kind's seed holds is given an empty value by create, update, JSON patch, merge
patch, strategic merge patch and apply; what is answered must be as the facts of the Go types say (``fuzz_form``).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import suite_samples
from fuzz_asking import Ask
from fuzz_form import empty_values, faults, places
from fuzz_seeds import seed
from test_random_writes import STORED, name_of, url_of, without

from sampan.api import schema
from sampan.api.kind import Kind
from sampan.api.types import Obj

#: fields of a kind that are tried, six ways each
MOST = suite_samples.of(20, 8)
#: of an object, whose absent fields are emptied
PLACES = 5
_IDENTITY = frozenset(
    ("kind", "apiVersion", "name", "namespace", "uid", "resourceVersion", "generateName", "managedFields")
)
_APPLY, _STRATEGIC = "application/apply-patch+yaml", "application/strategic-merge-patch+json"
_MERGE, _JSON = "application/merge-patch+json", "application/json-patch+json"


def emptied(definition: str, obj: Obj) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The way to each field that may be empty, with an empty value of it."""
    for struct, way in places(definition, obj):
        for name in schema.load().properties(struct):
            if name not in _IDENTITY:
                for value in empty_values(struct, name):
                    yield (*way, name), value


def with_value(obj: Obj, way: tuple[Any, ...], value: Any) -> Obj:
    changed = copy.deepcopy(obj)
    holder: Any = changed
    for step in way[:-1]:
        holder = holder[step]
    holder[way[-1]] = copy.deepcopy(value)
    return changed


def merge_of(obj: Obj, way: tuple[Any, ...], value: Any) -> Obj:
    """The smallest merge patch that has the value; a list stands in it whole."""
    steps = list(way)
    first_list = next((index for index, step in enumerate(steps) if isinstance(step, int)), len(steps) - 1)
    changed: Any = with_value(obj, way, value)
    for step in steps[: first_list if first_list < len(steps) - 1 else len(steps)]:
        changed = changed[step]
    patch = changed
    for step in reversed(steps[: first_list if first_list < len(steps) - 1 else len(steps)]):
        patch = {step: patch}
    return patch


def pointer(way: tuple[Any, ...]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in way)


@pytest.mark.parametrize("kind", STORED, ids=name_of)
async def test_an_empty_value_is_kept_as_its_type_writes_it_by_whatever_way_it_came(ask: Ask, kind: Kind) -> None:
    obj, url = seed(kind), url_of(kind)
    item = f"{url}/{obj['metadata']['name']}"
    made = await ask("POST", url, obj)
    assert made.status == 201, made.body
    stored = made.obj
    config = without(stored, "managedFields", "resourceVersion")
    accepted: Counter[str] = Counter()
    tries = list(emptied(kind.schema, stored))
    for way, value in Random(name_of(kind)).sample(tries, min(len(tries), MOST)):
        fresh = with_value(without(obj), way, value) if _reaches(obj, way) else None
        patch = merge_of(stored, way, value)
        for verb, path, body, content_type in (
            ("POST", f"{url}?dryRun=All", fresh and {**fresh, "metadata": {**fresh["metadata"], "name": "other"}}, ""),
            ("PUT", f"{item}?dryRun=All", with_value(stored, way, value), ""),
            ("PATCH", f"{item}?dryRun=All", [{"op": "add", "path": pointer(way), "value": value}], _JSON),
            ("PATCH", f"{item}?dryRun=All", patch, _MERGE),
            ("PATCH", f"{item}?dryRun=All", patch, _STRATEGIC),
            ("PATCH", f"{item}?dryRun=All&fieldManager=e&force=true", with_value(config, way, value), _APPLY),
        ):
            if body is None:
                continue
            answer = await ask(verb, path, body, content_type or "application/json")
            if answer.status in (200, 201):
                accepted[content_type or verb] += 1
                assert list(faults(kind.schema, answer.obj)) == [], (verb, content_type, way, value)
    # where the content gives the name, there can be no other object
    assert len(accepted) >= 5, f"not every way was taken: {accepted}"


def _reaches(obj: Any, way: tuple[Any, ...]) -> bool:
    """Whether the request has the struct too: defaults make more."""
    for step in way[:-1]:
        there = step < len(obj) if isinstance(obj, list) else isinstance(obj, dict) and step in obj
        if not there:
            return False
        obj = obj[step]
    return isinstance(obj, dict)


def _replaced(definition: str, way: tuple[Any, ...]) -> bool:
    """Whether a strategic merge replaces what stands there (the selector of a PodDisruptionBudget)."""
    raw: Any = {"$ref": definition}
    for step in way:
        if "$ref" not in raw:
            return False
        raw = schema.load().properties(raw["$ref"]).get(step, {})
        if "replace" in raw.get("x-kubernetes-patch-strategy", ""):
            return True
    return False


@pytest.mark.parametrize("kind", STORED, ids=name_of)
async def test_patches_that_only_empty_what_is_absent_change_nothing(ask: Ask, kind: Kind) -> None:
    """``nodeSelector: {}``, ``data: {}``: no new revision, no new generation."""
    obj, url = seed(kind), url_of(kind)
    item = f"{url}/{obj['metadata']['name']}"
    made = await ask("POST", url, obj)
    assert made.status == 201, made.body
    tried = 0
    # A merge patch replaces lists.
    found = [(struct, way) for struct, way in places(kind.schema, made.obj) if not any(isinstance(s, int) for s in way)]
    for struct, way in Random(name_of(kind)).sample(found, min(len(found), suite_samples.of(len(found), PLACES))):
        presence = schema.load().presence(struct)
        holder: Any = made.obj
        for step in way:
            holder = holder[step]
        for name in schema.load().properties(struct):
            if name in holder or name in _IDENTITY or presence.get(name, "omitted") != "omitted":
                continue
            for value in empty_values(struct, name):
                for content_type in (_MERGE,) if _replaced(kind.schema, way) else (_MERGE, _STRATEGIC):
                    answer = await ask("PATCH", item, merge_of(made.obj, (*way, name), value), content_type)
                    assert answer.status == 200, answer.body
                    assert answer.obj == made.obj, (*way, name)
                    tried += 1
    assert tried
