"""1,500 manifests of every shape that public charts and repositories use are accepted, warned of or refused as the
reference does: what is expected of each stands beside its shape.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from random import Random

import orjson
import pytest

from corpus import VARIATIONS, Manifest, manifests, shapes, topics
from sampan.api import schema
from sampan.api.clock import FixedClock
from sampan.api.enablement import ALL_KINDS, ALL_VERSIONS
from sampan.api.registry import registry
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.request import Request
from sampan.store.memory import MemoryStore

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
#: what this server adds, of kinds that nothing acts on yet
HONESTY = "Sampan stores this "
QUERY = {"dryRun": "All", "fieldValidation": "Warn", "fieldManager": "corpus"}

registry()
schema.load()


def address(manifest: Manifest) -> str:
    api_version, kind = manifest.value["apiVersion"], manifest.value["kind"]
    found = registry().by_api_version(api_version, kind)
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    plural = found.plural if found is not None else f"{kind.lower()}s"
    return f"{root}/namespaces/default/{plural}" if found is None or found.namespaced else f"{root}/{plural}"


async def created(server: Server, manifest: Manifest) -> tuple[int, str, str, list[str]]:
    headers = {"content-type": manifest.content_type}
    lists = {key: [value] for key, value in QUERY.items()}
    request = Request("POST", address(manifest), dict(QUERY), headers, manifest.text, query_lists=lists, raw_query="x")
    response = await server.handler(request)
    assert isinstance(response.body, bytes)
    if response.content_type != "application/json":
        return response.status, "-", response.body.decode(), request.warnings
    obj = orjson.loads(response.body)
    warnings = [text for text in request.warnings if not text.startswith(HONESTY)]
    failed = obj if response.status >= 400 else {}
    return response.status, failed.get("reason", ""), failed.get("message", ""), warnings


def differences(manifest: Manifest, found: tuple[int, str, str, list[str]]) -> list[str]:
    code, reason, message, warnings = found
    told = []
    if (code, reason) != (manifest.code, manifest.reason) or manifest.message not in message:
        told.append(f"was {manifest.code} {manifest.reason} {manifest.message}\n    now {code} {reason} {message}")
    if (manifest.code < 300 or manifest.warnings) and sorted(warnings) != sorted(manifest.warnings):
        told.append(f"warned {list(manifest.warnings)}\n    now    {warnings}")
    return [f"{manifest.what}: {each}" for each in told]


@pytest.mark.parametrize("topic", topics())
def test_manifests_are_accepted_warned_of_or_refused_as_the_reference_does(topic: str) -> None:
    async def run() -> list[str]:
        clock = FixedClock(NOW)
        config = ServerConfig(
            runtime_config=ALL_VERSIONS,
            feature_gates=ALL_KINDS,
            listen=False, bootstrap=False, openapi=False, authorization_modes=("AlwaysAllow",),
            disable_admission_plugins=("ServiceAccount",), clock=clock, random=Random(1),
        )  # fmt: skip
        async with Server(config, store=MemoryStore(clock=clock)) as server:
            namespace = orjson.dumps({"metadata": {"name": "default"}})
            await server.handler(Request("POST", "/api/v1/namespaces", {}, {}, namespace))
            return [told for each in manifests(topic) for told in differences(each, await created(server, each))]

    found = asyncio.run(run())
    assert not found, "\n".join(found)


def test_there_are_fifteen_hundred_of_a_hundred_and_fifty_shapes() -> None:
    count = sum(len(shapes(topic)) for topic in topics())
    assert count >= 150
    assert count * VARIATIONS >= 1500
    varied = [each.text for each in manifests("workloads")]
    assert len(set(varied)) > 0.9 * len(varied)  # few things to vary make the same thing twice now and then
