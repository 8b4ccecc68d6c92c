"""Thirty scripts of writes and applies, with what a v1.36 API server answered to each step (data/scripts.json).

Compared: status, message and details of refusals; of answers the managed fields (whether they have a time, not which),
what the object holds, and whether the write was one at all. Upstream's 500 for a configuration that does not fit the
schema is 400 here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

RECORDED: dict[str, Any] = orjson.loads((Path(__file__).parent / "data" / "scripts.json").read_bytes())
ROOTS = {"@apps": "/apis/apps/v1/namespaces/mf", "@foo": "/apis/mf.io/v1/namespaces/mf", "@": "/api/v1/namespaces/mf"}
AGENT = "rec/v0 (test)"


def url_of(text: str) -> tuple[str, str]:
    method, _, url = text.partition(" ")
    for short, root in ROOTS.items():
        if url.startswith(short):
            return method, root + url[len(short) :]
    return method, url


def owners(obj: dict[str, Any]) -> list[list[Any]]:
    return [
        [e["manager"], e["operation"], e.get("subresource", ""), e["apiVersion"], "time" in e, e["fieldsV1"]]
        for e in obj.get("metadata", {}).get("managedFields", [])
    ]


def wanted_owners(step: dict[str, Any]) -> list[list[Any]]:
    return [[*entry[:-1], RECORDED["fields"][entry[-1]]] for entry in step["owners"]]


def check_object(step: dict[str, Any], obj: dict[str, Any]) -> None:
    for key, value in RECORDED["objects"][step["object"]].items():
        if key == "metadata":
            assert {name: obj["metadata"].get(name) for name in value} == value
        elif isinstance(value, dict) and "podIP" in value:
            # one follows from the other in upstream's conversion
            assert obj[key] == {name: part for name, part in value.items() if name != "podIP"}
        else:
            assert obj.get(key) == value, key


def plain_causes(details: dict[str, Any]) -> dict[str, Any]:
    """Upstream checks metadata twice, and says so twice."""
    return {**details, "causes": [dict(pair) for pair in {tuple(sorted(c.items())) for c in details["causes"]}]}


@pytest.mark.parametrize("script", RECORDED["scripts"])
async def test_every_step_is_answered_as_recorded(with_foos: Any, script: str) -> None:
    """Server side field validation, typed object (unknown and duplicate fields of what is applied)"""
    versions: dict[str, str] = {}
    for number, step in enumerate(RECORDED["scripts"][script]):
        method, url = url_of(step["do"])
        kind = f"application/{step['as']}" if "as" in step else "application/json"
        body = orjson.dumps(step["body"]) if "body" in step else None
        answer = await with_foos(method, url, body, user_agent=AGENT, content_type=kind)
        assert answer.status == (400 if step["status"] == 500 else step["status"]), (number, answer.obj)
        if answer.status >= 300:
            assert answer.message == step["message"], number
            if step["status"] != 500 and "causes" in step.get("details", {}):
                assert plain_causes(answer.obj["details"]) == plain_causes(step["details"])
            continue
        if answer.obj["kind"] != "Scale":
            assert owners(answer.obj) == wanted_owners(step), number
        check_object(step, answer.obj)
        name = f"{answer.obj['kind']} {answer.obj.get('metadata', {}).get('name')}"
        version = answer.obj.get("metadata", {}).get("resourceVersion", "")
        if name in versions and step.get("changed") is not None and answer.obj["kind"] != "Scale" and method != "GET":
            assert (version != versions[name]) == step["changed"], number
        versions[name] = version
