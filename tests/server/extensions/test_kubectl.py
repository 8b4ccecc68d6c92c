"""Unmodified kubectl and custom resources: validation, explain, tables, apply, scale."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sampan.api.clock import SystemClock
from sampan.api.resources import NAMESPACES
from sampan.client.client import Client
from sampan.server.app import Server
from sampan.server.config import ServerConfig

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="scripts/setup installs kubectl")

KEEP = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
SPEC = {
    "type": "object",
    "description": "What is wanted of the boat.",
    "required": ["masts"],
    "properties": {
        "masts": {"type": "integer", "description": "How many of them.", "minimum": 1},
        "colour": {"type": "string", "default": "white"},
        "replicas": {"type": "integer"},
    },
}
TYPED = {"type": "object", "description": "Something that sails.", "properties": {"spec": SPEC}}


@dataclass
class Done:
    code: int
    out: str


Kubectl = Callable[..., Awaitable[Done]]


@pytest.fixture
async def kubectl(documents: Any, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """``await kubectl("get", "boats", stdin=...)``"""
    config = ServerConfig(
        port=0, bind_address="127.0.0.1", authorization_modes=("AlwaysAllow",), clock=SystemClock(), random=Random(1),
        disable_admission_plugins=("ServiceAccount",), bootstrap=False,
    )  # fmt: skip
    async with Server(config, openapi=documents) as server:

        async def run(*words: str, stdin: Any = None) -> Done:
            process = await asyncio.create_subprocess_exec(
                "kubectl", "--server", server.url, "--cache-dir", str(tmp_path / "cache"), *words,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
                env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin:/usr/local/bin"},
            )  # fmt: skip
            out, _ = await process.communicate(json.dumps(stdin).encode() if stdin is not None else b"")
            return Done(process.returncode or 0, out.decode())

        await Client(server.local_transport()).create(NAMESPACES, {"metadata": {"name": "x"}})
        yield run


async def define(kubectl: Kubectl, crd: Any) -> None:
    made = await kubectl("create", "-f", "-", stdin=crd)
    assert made.code == 0, made.out
    name = crd["metadata"]["name"]
    waited = await kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{name}")
    assert waited.code == 0, waited.out


def boat(spec: Any) -> dict[str, Any]:
    metadata = {"name": "a", "namespace": "x"}
    return {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": metadata, "spec": spec}


async def test_valid_objects_pass_and_others_are_refused_before_they_are_stored(
    kubectl: Kubectl, crd: Any, crd_version: Any
) -> None:
    """[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD with validation schema
    [Conformance]"""
    await define(kubectl, crd("boats", crd_version(schema={"openAPIV3Schema": TYPED})))
    for verb in ("create", "apply"):
        unknown = await kubectl(verb, "-f", "-", stdin=boat({"masts": 2, "sails": 3}))
        assert unknown.code == 1 and 'unknown field "spec.sails"' in unknown.out
        missing = await kubectl(verb, "-f", "-", stdin=boat({"colour": "red"}))
        assert missing.code == 1 and "spec.masts" in missing.out
        passed = await kubectl(verb, "-f", "-", stdin=boat({"masts": 2}))
        assert passed.code == 0, passed.out
        assert (await kubectl("delete", "boat", "a", "-n", "x")).code == 0


async def test_explain_tells_what_the_definition_says(kubectl: Kubectl, crd: Any, crd_version: Any) -> None:
    await define(kubectl, crd("boats", crd_version(schema={"openAPIV3Schema": TYPED}), shortNames=["bt"]))
    whole = (await kubectl("explain", "boats")).out
    assert "KIND:       Boat" in whole and "Something that sails." in whole
    field = (await kubectl("explain", "boat.spec.masts")).out
    assert "FIELD: masts <integer>" in field and "How many of them." in field
    assert (await kubectl("explain", "bt.spec.nothing")).code == 1


async def test_what_keeps_unknown_fields_takes_them(kubectl: Kubectl, crd: Any, crd_version: Any) -> None:
    """[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD preserving unknown
    fields at the schema root [Conformance]; CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD
    without validation schema"""
    await define(kubectl, crd("boats", crd_version(schema={"openAPIV3Schema": KEEP})))
    for verb in ("create", "apply"):
        made = await kubectl(verb, "-f", "-", stdin=boat({"anything": [{"goes": True}]}))
        assert made.code == 0, made.out
    assert "KIND:       Boat" in (await kubectl("explain", "boats")).out


async def test_what_an_embedded_object_keeps_is_taken(kubectl: Kubectl, crd: Any, crd_version: Any) -> None:
    """[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for CRD preserving unknown
    fields in an embedded object [Conformance]"""
    nested = {"type": "object", "properties": {"spec": {**KEEP, "description": "Anything at all."}}}
    await define(kubectl, crd("boats", crd_version(schema={"openAPIV3Schema": nested})))
    made = await kubectl("create", "-f", "-", stdin=boat({"anything": {"goes": True}}))
    assert made.code == 0, made.out
    assert "Anything at all." in (await kubectl("explain", "boats.spec")).out


async def test_a_custom_resource_is_used_like_any_other(kubectl: Kubectl, crd: Any, crd_version: Any) -> None:
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    columns = [{"name": "Colour", "type": "string", "jsonPath": ".spec.colour"}]
    version = crd_version(
        schema={"openAPIV3Schema": TYPED}, subresources={"scale": paths}, additionalPrinterColumns=columns
    )
    await define(kubectl, crd("boats", version, shortNames=["bt"], categories=["fleet"]))
    listed = (await kubectl("api-resources", "--api-group=example.com", "--no-headers")).out
    assert listed.split() == ["boats", "bt", "example.com/v1", "true", "Boat"]
    applied = await kubectl("apply", "-f", "-", stdin=boat({"masts": 2, "replicas": 1}))
    assert applied.out == "boat.example.com/a created\n"
    shown = (await kubectl("get", "fleet", "-n", "x", "--no-headers")).out
    assert shown.split() == ["a", "white"]
    assert (await kubectl("scale", "bt/a", "-n", "x", "--replicas=4")).out == "boat.example.com/a scaled\n"
    changed = await kubectl("apply", "-f", "-", stdin=boat({"masts": 3}))
    assert changed.out == "boat.example.com/a configured\n"
    spec = json.loads((await kubectl("get", "boat", "a", "-n", "x", "-o", "json")).out)["spec"]
    assert spec == {"masts": 3, "colour": "white"}
    assert (await kubectl("delete", "crd", "boats.example.com", "--timeout=30s")).code == 0
    assert (await kubectl("get", "boats", "-n", "x")).code == 1


async def test_server_side_apply_creates_and_owns_its_fields(kubectl: Kubectl, crd: Any, crd_version: Any) -> None:
    await define(kubectl, crd("boats", crd_version(schema={"openAPIV3Schema": TYPED})))
    first = await kubectl("apply", "--server-side", "-f", "-", stdin=boat({"masts": 2}))
    assert first.out == "boat.example.com/a serverside-applied\n"
    other = await kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=boat({"masts": 3}))
    assert other.code == 1 and ".spec.masts" in other.out
    invalid = await kubectl("apply", "--server-side", "-f", "-", stdin=boat({"masts": 0}))
    assert invalid.code == 1 and "should be greater than or equal to 1" in invalid.out
