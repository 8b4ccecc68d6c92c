"""Definitions that mean harm: they end or slow nothing but their own requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.server.extensions.conftest import Sea, version

BOATS = "/apis/example.com/v1/namespaces/default/boats"


def _schema(**cabin: Any) -> dict[str, Any]:
    properties = {"crew": {"type": "array", "items": {"type": "object", "properties": {"cabin": cabin}}}}
    return {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}}


async def test_defaults_that_make_stored_objects_too_long_hide_those_objects_and_nothing_else(
    sea: Sea, crd: Callable[..., Any]
) -> None:
    """A CRD whose new default multiplies by the number of items."""
    await sea.define(crd("boats", version(schema=_schema(type="string"))))
    for name, crew in (("galley", 5000), ("skiff", 1)):
        body = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": name}}
        made = await sea("POST", BOATS, body | {"spec": {"crew": [{}] * crew}})
        assert made.status == 201, made.obj
    bad = version(schema=_schema(type="string", default="x" * 1000))
    await sea.change("boats.example.com", {"spec": {"versions": [bad]}})

    async def filled() -> bool:
        found = await sea("GET", f"{BOATS}/skiff")
        return len(found.obj["spec"]["crew"][0].get("cabin", "")) == 1000

    await sea.eventually(filled)
    await sea.define(crd("rafts"))
    body = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "ark"}}
    refused = await sea("POST", BOATS, body | {"spec": {"crew": [{}] * 5000}})
    assert (refused.status, refused.obj["reason"]) == (413, "RequestEntityTooLarge")
    assert (await sea("GET", f"{BOATS}/galley")).obj["spec"]["crew"][:2] == [{}, {}]
    assert (await sea("DELETE", f"{BOATS}/galley")).status == 200
