"""A server that serves the custom resource of the recorded scripts: one with every type of list and map."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TEXT = {"type": "string"}


def keyed(keys: list[str], required: list[str], **properties: Any) -> dict[str, Any]:
    items = {"type": "object", "required": required, "properties": properties}
    return {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items
    }  # fmt: skip


SPEC = {
    "a": {"type": "array", "items": TEXT},
    "s": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
    "m": keyed(["k", "p"], ["k"], k=TEXT, v=TEXT, p={"type": "string", "default": "TCP"}),
    "o": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": TEXT},
    "g": {"type": "object", "additionalProperties": TEXT},
    "d": {"type": "string", "default": "x"},
    "n": {"type": "integer"},
    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}
STATUS = {"n": {"type": "integer"}, "conditions": keyed(["type"], ["type"], type=TEXT, v=TEXT)}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": SPEC},
        "status": {"type": "object", "properties": STATUS},
    },
}


def foos(*versions: str) -> dict[str, Any]:
    """The definition; the first version is stored."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "foos.mf.io"},
        "spec": {
            "group": "mf.io",
            "scope": "Namespaced",
            "names": {"plural": "foos", "kind": "Foo"},
            "versions": [
                {
                    "name": name,
                    "served": True,
                    "storage": name == versions[0],
                    "schema": {"openAPIV3Schema": SCHEMA},
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"},
                    },
                }
                for name in versions
            ],
        },
    }


async def define(api: Any, crd: dict[str, Any]) -> None:
    """Creates it, and waits until it is served."""
    assert (await api("POST", CRDS, crd)).status == 201
    spec = crd["spec"]
    for _ in range(200_000):  # a thread takes it in, whenever the machine lets it
        url = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        if (await api("GET", url)).status == 200:
            return
        await asyncio.sleep(0)
    raise AssertionError("the definition is not established")


@pytest.fixture
async def with_foos(api: Any) -> Any:
    """``api``, with a namespace mf and foos of the versions v1 and v2."""
    await define(api, foos("v1", "v2"))
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "mf"}})
    return api
