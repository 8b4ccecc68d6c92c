"""Apply against what must hold of any configuration: idempotent, owned is there, others keep theirs, never 500."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sampan.api import schema
from sampan.api.schema import AnyNode, ListNode, MapNode, Node, ObjectNode

APPLY = {"content_type": "application/apply-patch+yaml"}
URL = "/apis/mf.io/v1/namespaces/mf/foos/f"


def a_spec(chance: random.Random, letters: str = "abc") -> dict[str, Any]:
    """A spec with some of its fields, of keys and items named by these letters."""

    def some() -> list[str]:
        return [letter for letter in letters if chance.random() < 0.5]

    parts: dict[str, Any] = {
        "g": {letter: chance.choice("12") for letter in some()},
        "s": some(),
        "m": [{"k": letter, **({"v": chance.choice("12")} if chance.random() < 0.7 else {})} for letter in some()],
        "a": some(),
        "o": dict.fromkeys(some(), "1"),
        "free": {letter: {letter: chance.choice([1, "x", [1]])} for letter in some()},
        "n": chance.randrange(3),
    }
    # an empty list or map that takes the place of a full one is gone first, and stays only when applied again
    return {key: value for key, value in parts.items() if value not in ([], {}) and chance.random() < 0.6}


def foo(spec: Any) -> dict[str, Any]:
    return {"apiVersion": "mf.io/v1", "kind": "Foo", "metadata": {"name": "f"}, "spec": spec}


def untimed(obj: Any) -> Any:
    """What the object says, and who owns what, whenever."""
    meta = {key: value for key, value in obj["metadata"].items() if key in ("managedFields", "labels")}
    entries = [{k: v for k, v in e.items() if k != "time"} for e in meta.get("managedFields", [])]
    meta["managedFields"] = sorted(entries, key=lambda entry: str(entry["manager"]))
    lists = {key: sorted(map(str, value)) for key, value in obj.get("spec", {}).items() if isinstance(value, list)}
    return {"metadata": meta, "spec": {**obj.get("spec", {}), **lists}}


def is_there(fields: Any, value: Any, elements: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of members that the value does not have; null counts as being there."""
    missing = []
    for element, below in fields.items():
        if element == ".":
            continue
        kind, name = element[0], element[2:]
        found: Any = None
        if kind == "f" and isinstance(value, dict) and name in value:
            found = value[name]
        elif kind == "v" and isinstance(value, list):
            found = next((item for item in value if f'"{item}"' == name), None)
        elif kind == "k" and isinstance(value, list):
            found = next((item for item in value if f'"{item.get("k")}"' in name and item["p"] in name), None)
        if found is None and below != {}:
            missing.append((*elements, element))
        elif found is not None:
            missing += is_there(below, found, (*elements, element))
    return missing


@pytest.mark.parametrize("seed", range(25))
async def test_what_is_applied_is_there_owned_and_applied_once(with_foos: Any, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(6):
        spec, manager = a_spec(chance), chance.choice("AB")
        answer = await with_foos("PATCH", f"{URL}?fieldManager={manager}&force=true", foo(spec), **APPLY)
        assert answer.status in (200, 201), answer.obj
        again = await with_foos("PATCH", f"{URL}?fieldManager={manager}", foo(spec), **APPLY)
        assert (again.status, again.obj) == (200, answer.obj)
        for entry in answer.obj["metadata"]["managedFields"]:
            assert is_there(entry["fieldsV1"], answer.obj) == []
        live = answer.obj.get("spec", {})
        for key, value in spec.items():
            if key in ("a", "o", "n"):
                assert live[key] == value
            elif isinstance(value, dict):
                assert {k: live.get(key, {}).get(k) for k in value} == value
            elif key == "s":
                assert set(value) <= set(live.get("s", []))


@pytest.mark.parametrize("seed", range(15))
async def test_managers_of_different_fields_may_come_in_any_order(with_foos: Any, seed: int) -> None:
    chance = random.Random(seed)
    shared = ("a", "o", "n")
    one, two = a_spec(chance, "abc"), {k: v for k, v in a_spec(chance, "xyz").items() if k not in shared}
    results = []
    for order in ((("A", one), ("B", two)), (("B", two), ("A", one))):
        for manager, spec in order:
            answer = await with_foos("PATCH", f"{URL}?fieldManager={manager}", foo(spec), **APPLY)
            assert answer.status in (200, 201), answer.obj
        results.append(untimed((await with_foos("GET", URL)).obj))
        await with_foos("DELETE", URL)
    assert results[0] == results[1]


@pytest.mark.parametrize("seed", range(15))
async def test_whoever_leaves_everything_out_leaves_the_others_fields(with_foos: Any, seed: int) -> None:
    chance = random.Random(seed)
    one, two = a_spec(chance), a_spec(chance)
    await with_foos("PATCH", f"{URL}?fieldManager=A", foo(one), **APPLY)
    alone = untimed((await with_foos("GET", URL)).obj)
    await with_foos("PATCH", f"{URL}?fieldManager=B&force=true", foo({**two, **one}), **APPLY)
    left = await with_foos("PATCH", f"{URL}?fieldManager=B", foo({}), **APPLY)
    assert left.status == 200
    without_b = untimed(left.obj)
    without_b["metadata"]["managedFields"] = [
        entry for entry in without_b["metadata"]["managedFields"] if entry["manager"] != "B"
    ]
    assert without_b["metadata"] == alone["metadata"]
    assert {k: v for k, v in without_b["spec"].items() if v} == {k: v for k, v in alone["spec"].items() if v}


HOSTILE = (None, 0, -1, 1.5, True, "", "x", [], {}, [None], [{}], {"": {}}, [[1]], {"a": None}, "9" * 40)


def hostile(node: Node, chance: random.Random, depth: int = 0) -> Any:
    """A value along the structure, or not at all along it."""
    if depth > 6 or chance.random() < 0.15:
        return chance.choice(HOSTILE)
    if isinstance(node, ObjectNode):
        names = list(node.fields)
        chosen = chance.sample(names, min(len(names), chance.randrange(4)))
        made = {name: hostile(node.fields[name].node, chance, depth + 1) for name in chosen}
        if chance.random() < 0.05:
            made["bogus"] = 1
        return made
    if isinstance(node, MapNode):
        return {key: hostile(node.values, chance, depth + 1) for key in ("a", "b")[: chance.randrange(3)]}
    if isinstance(node, ListNode):
        return [hostile(node.items, chance, depth + 1) for _ in range(chance.randrange(4))]
    if isinstance(node, AnyNode):
        return chance.choice(HOSTILE)
    return chance.choice(("a", "b", 1, 80, "TCP", True, "2026-01-01T00:00:00Z", *HOSTILE))


KINDS = (
    ("v1", "Pod", "/api/v1/namespaces/default/pods", "io.k8s.api.core.v1.Pod"),
    ("v1", "Service", "/api/v1/namespaces/default/services", "io.k8s.api.core.v1.Service"),
    ("apps/v1", "Deployment", "/apis/apps/v1/namespaces/default/deployments", "io.k8s.api.apps.v1.Deployment"),
    (
        "autoscaling/v1", "HorizontalPodAutoscaler", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
        "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("api_version", "kind", "url", "definition"), KINDS, ids=[kind[1] for kind in KINDS])
async def test_no_configuration_is_more_than_refused(
    api: Any, api_version: str, kind: str, url: str, definition: str
) -> None:
    chance = random.Random(7)
    node = schema.load().definition(definition)
    codes = set()
    for number in range(150):
        body = hostile(node, chance)
        if isinstance(body, dict):
            meta = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
            meta = {key: value for key, value in meta.items() if key != "managedFields"}
            body |= {"apiVersion": api_version, "kind": kind, "metadata": {**meta, "name": "x"}}
        subresource = chance.choice(("", "", "/status"))
        query = f"?fieldManager={chance.choice('AB')}&force={chance.choice(('true', 'false'))}"
        answer = await api("PATCH", f"{url}/x{subresource}{query}", body, **APPLY)
        assert answer.status < 500, (number, body, answer.obj)
        codes.add(answer.status)
    assert 400 in codes
