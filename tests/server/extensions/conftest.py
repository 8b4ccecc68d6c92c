"""Definitions of custom resources, and a server that serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import pytest

from sampan.api import schema
from sampan.api.registry import registry
from sampan.server.discovery.openapi import PROTOBUF_V2_SENT
from sampan.server.openapi import gnostic, v2, v3
from sampan.server.openapi.definitions import Definitions
from sampan.server.openapi.operations import document_paths

V3_DOCUMENTS = ("apis/apps/v1", "apis/apiextensions.k8s.io/v1")
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {"masts": {"type": "integer"}, "colour": {"type": "string"}, "replicas": {"type": "integer"}},
        },
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    },
}


def version(name: str = "v1", **more: Any) -> dict[str, Any]:
    found = {"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}}
    return found | more


def definition(plural: str = "boats", *versions: dict[str, Any], group: str = "example.com", **names: Any) -> Any:
    kind = plural.capitalize().removesuffix("s")
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind} | names,
            "versions": list(versions) or [version()],
        },
    }


class Sea:
    """``Api``, with what these tests ask again and again."""

    def __init__(self, api: Any) -> None:
        self.api = api

    async def __call__(self, method: str, url: str, body: Any = None, **headers: str) -> Any:
        return await self.api(method, url, body, **headers)

    async def define(self, crd: dict[str, Any]) -> Any:
        """Creates it, and waits until it is established."""
        made = await self.api("POST", CRDS, crd)
        assert made.status == 201, made.obj
        return await self.until(crd["metadata"]["name"], lambda obj: self.condition(obj, "Established") == "True")

    async def read(self, name: str) -> Any:
        return (await self.api("GET", f"{CRDS}/{name}")).obj

    async def until(self, name: str, holds: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(30):
            while not holds(obj := await self.read(name)):  # noqa: ASYNC110  # a thread may have to do its work
                await asyncio.sleep(0.002)
        return obj

    async def eventually(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(30):
            while not await holds():  # noqa: ASYNC110  # a thread may have to do its work
                await asyncio.sleep(0.002)

    async def change(self, name: str, patch: Any) -> Any:
        changed = await self.api("PATCH", f"{CRDS}/{name}", patch, content_type="application/merge-patch+json")
        assert changed.status == 200, changed.obj
        return changed.obj

    @staticmethod
    def condition(obj: Any, kind: str) -> str:
        found = (obj.get("status") or {}).get("conditions") or ()
        return next((str(one["status"]) for one in found if one["type"] == kind), "")

    @staticmethod
    def reasons(obj: Any) -> dict[str, tuple[str, str, str]]:
        return {one["type"]: (one["status"], one["reason"], one["message"]) for one in obj["status"]["conditions"]}


def built_in() -> dict[str, bytes]:
    """A few of the documents that the build makes, with all that custom resources refer to."""
    definitions = Definitions(schema.load(), {})
    everything = document_paths(registry(), lambda name: name in definitions)
    v2_base = v2.render(everything["apis/coordination.k8s.io/v1"], definitions)
    return {
        **{name: orjson.dumps(v3.render(everything[name], definitions)) for name in V3_DOCUMENTS},
        "v2.json": orjson.dumps(v2_base),
        "v2.pb": gnostic.encode(v2_base),
    }


class Documents:
    """``sampan.server.discovery.openapi.OpenApi`` in memory."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self._documents = documents

    async def v2(self, accept: str) -> tuple[bytes, str, str]:
        name = "v2.pb" if "protobuf" in accept else "v2.json"
        return self._documents[name], PROTOBUF_V2_SENT if name == "v2.pb" else "application/json", '"1"'

    async def v3_index(self) -> Mapping[str, str]:
        return dict.fromkeys(V3_DOCUMENTS, "HASH")

    async def v3(self, group_version: str) -> tuple[bytes, str, str] | None:
        found = self._documents.get(group_version)
        return (found, "application/json", "HASH") if found is not None else None


@pytest.fixture(scope="session")
def documents() -> Documents:
    return Documents(built_in())


@pytest.fixture
def sea(api: Any) -> Sea:
    return Sea(api)


@pytest.fixture
def crd() -> Callable[..., Any]:
    return definition


@pytest.fixture
def crd_version() -> Callable[..., Any]:
    return version
