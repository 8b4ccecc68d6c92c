"""Unmodified kubectl in front of API servers behind this one: what works, and what a dead one leaves working.

Conformance: "aggregator-supports-the-sample-apiserver" (Aggregator).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from tests.server.aggregation.conftest import APISERVICES, GROUP, ROOT, Front, Sample, api_service, started

from sampan.server.config import ServerConfig

PROGRAMS = Path(__file__).parents[3] / ".venv" / "programs"
METRICS = "/apis/metrics.k8s.io/v1beta1"
Kubectl = Callable[..., Awaitable[tuple[int, str, str]]]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def cluster(config_of: Callable[..., ServerConfig], sample: Sample, bundle: str) -> AsyncIterator[Front]:
    async with started(config_of(openapi=True), sample) as made:
        await made.register(caBundle=bundle)
        await made.until_said("Passed")
        yield made


@pytest.fixture(params=["1.20", "1.32", "1.37"])
def kubectl(request: pytest.FixtureRequest, cluster: Front, tmp_path: Path) -> Kubectl:
    program = PROGRAMS / f"kubectl-{request.param}"
    if not program.exists():
        pytest.skip(f"{program.name} is not there: run scripts/setup dev")

    async def run(*arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            program, "--server", cluster.server.url, *arguments,
            env={"HOME": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, errors = await process.communicate()
        return process.returncode or 0, out.decode(), errors.decode()

    return run


async def test_its_resources_are_listed_and_got_by_their_short_names(kubectl: Kubectl) -> None:
    code, out, errors = await kubectl("api-resources", "--api-group", GROUP, "-o", "name")
    assert (code, out, errors) == (0, f"flunders.{GROUP}\n", "")
    code, out, errors = await kubectl("get", "fl", "-o", "name")
    assert (code, out) == (0, f"flunder.{GROUP}/f\n"), errors


async def test_raw_paths_go_through(kubectl: Kubectl) -> None:
    code, out, _ = await kubectl("get", "--raw", f"{ROOT}/namespaces/default/flunders")
    assert code == 0
    assert '"FlunderList"' in out


async def test_api_services_are_shown_with_their_state(kubectl: Kubectl, cluster: Front) -> None:
    await cluster.call("POST", APISERVICES, api_service("v1.dead.io", service={"namespace": "x", "name": "y"}))
    await cluster.until_said("ServiceNotFound", "v1.dead.io")
    code, out, errors = await kubectl("get", "apiservices", "--no-headers")
    assert code == 0, errors
    rows = {row.split()[0]: row.split()[1:-1] for row in out.splitlines()}
    assert rows[f"v1alpha1.{GROUP}"] == ["wardle/api", "True"]
    assert rows["v1.dead.io"] == ["x/y", "False", "(ServiceNotFound)"]


async def test_a_dead_one_leaves_everything_else_working(kubectl: Kubectl, cluster: Front) -> None:
    await cluster.call("DELETE", "/api/v1/namespaces/wardle/services/api")
    await cluster.until_said("ServiceNotFound")
    _, out, _ = await kubectl("api-resources", "-o", "name")  # 1.20 says besides that one group did not answer
    assert "deployments.apps" in out.splitlines()
    assert f"flunders.{GROUP}" not in out.splitlines()
    code, out, errors = await kubectl("get", "namespaces", "-o", "name")
    assert (code, out) == (0, "namespace/wardle\n"), errors


async def test_top_shows_what_a_metrics_server_says(
    kubectl: Kubectl, cluster: Front, sample: Sample, bundle: str
) -> None:
    usage = {"cpu": "250m", "memory": "1Gi"}

    async def metrics(request: web.Request) -> web.StreamResponse:
        if request.path == METRICS:
            resource = {"name": "nodes", "singularName": "", "namespaced": False, "kind": "NodeMetrics"}
            listed = [{**resource, "verbs": ["get", "list"]}]
            group_version = "metrics.k8s.io/v1beta1"
            return web.json_response({"kind": "APIResourceList", "groupVersion": group_version, "resources": listed})
        items = [{"metadata": {"name": "n"}, "timestamp": "2026-01-01T00:00:00Z", "window": "10s", "usage": usage}]
        return web.json_response({"kind": "NodeMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "items": items})

    sample.instead[METRICS] = metrics
    await cluster.call(
        "POST", APISERVICES, api_service("v1beta1.metrics.k8s.io", groupPriorityMinimum=100, caBundle=bundle)
    )
    await cluster.until_said("Passed", "v1beta1.metrics.k8s.io")
    capacity = {"cpu": "1", "memory": "4Gi"}
    node = {"metadata": {"name": "n"}, "status": {"capacity": capacity, "allocatable": capacity}}
    await cluster.call("POST", "/api/v1/nodes", node)
    code, out, errors = await kubectl("top", "nodes", "--no-headers")
    assert code == 0, errors
    assert out.split() == ["n", "250m", "25%", "1024Mi", "25%"]


async def test_explain_reads_its_openapi(kubectl: Kubectl, cluster: Front, sample: Sample) -> None:
    """Versions before 1.27 from the document of all, later ones from its own."""

    async def described(request: web.Request) -> web.StreamResponse:
        gvk = {"group": GROUP, "version": "v1alpha1", "kind": "Flunder"}
        schema = {"type": "object", "description": "A flunder.", "x-kubernetes-group-version-kind": [gvk]}
        operation = {"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": gvk, "responses": {}}
        paths = {f"{ROOT}/namespaces/{{namespace}}/flunders/{{name}}": {"get": operation}}
        return web.json_response({"openapi": "3.0.0", "paths": paths, "components": {"schemas": {"x.Flunder": schema}}})

    sample.instead[f"/openapi/v3{ROOT}"] = described
    async with asyncio.timeout(60):
        while not sample.asked("/openapi/v2") or (await cluster.text("GET", "/openapi/v2"))[1].find("wardle") < 0:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    code, out, errors = await kubectl("explain", "flunders")
    assert code == 0, errors
    assert "Flunder" in out
