"""What a kind's structure and defaults make of a request is what a kube-apiserver answered to it.

``data/answers.json``: by name, the request and what the answer (v1.36) adds to it or changes; ``~`` lists fields that
the answer lacks. What admission, allocation and other parts of the server set was taken out of both. Where v1.37
answers otherwise, ``tests/reference/differences-1.37.yaml`` says so.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.reference.facts import changes

from sampan.api import objects, schema
from sampan.api.kind import Kind
from sampan.api.registry import registry
from sampan.api.types import Obj

DATA = Path(__file__).parent / "data/answers.json"


@cache
def cases() -> dict[str, tuple[Obj, Obj]]:
    found: dict[str, tuple[Obj, Obj]] = orjson.loads(DATA.read_bytes())
    return found


def changed(value: Any, change: Any) -> Any:
    if isinstance(value, dict) and isinstance(change, dict):
        gone = change.get("~", ())
        kept = {key: item for key, item in value.items() if key not in gone}
        return kept | {key: changed(kept.get(key), item) for key, item in change.items() if key != "~"}
    if isinstance(value, list) and isinstance(change, list) and len(value) == len(change):
        return [changed(*pair) for pair in zip(value, change, strict=True)]
    return change


@pytest.mark.parametrize("name", sorted(cases()))
def test_an_object_is_stored_as_upstream_answers_it(name: str) -> None:
    request, change = cases()[name]
    wanted = changed(changed(request, change), changes("answers").get(name, {}))
    kind = registry().by_api_version(request["apiVersion"], request["kind"])
    assert kind is not None
    node = schema.load().definition(kind.schema)
    obj = objects.deep_copy(request)
    assert schema.decode(node, obj) == schema.Decoded(obj)
    kind.default(obj)
    obj["metadata"]["uid"] = "<uid>"
    kind.prepare_create(obj)
    del obj["metadata"]["uid"]
    obj["metadata"].pop("generation", None)  # the recorded answers keep nothing that counts
    assert orjson.dumps(obj, option=orjson.OPT_SORT_KEYS) == orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize("kind", registry().today().kinds(), ids=lambda kind: f"{kind.api_version}/{kind.kind}")
def test_a_new_object_is_whole_when_its_strategy_is_done(kind: Kind) -> None:
    """Nothing is left to normalise: the status of a new object shows what it always shows."""
    node = kind.node
    obj = schema.normalise(node, {"metadata": {"name": "a", "uid": "u"}})
    kind.default(obj)
    kind.prepare_create(obj)
    before = orjson.dumps(obj)
    assert orjson.dumps(schema.normalise(node, obj)) == before
