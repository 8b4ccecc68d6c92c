"""Every group version that this server answers for itself has an APIService that says so.

Conformance: "aggregator-supports-the-sample-apiserver" lists and reads APIServices beside its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.server.aggregation.conftest import APISERVICES, Front, Sample, started, until

from sampan.api.enablement import standard
from sampan.api.registry import registry
from sampan.server.aggregation.priorities import ALWAYS, ON_START, api_service, of_built_in, ordered
from sampan.server.aggregation.registering import plan
from sampan.server.config import ServerConfig
from sampan.store.memory import MemoryStore

LABEL = "kube-aggregator.kubernetes.io/automanaged"
LOCAL = {"version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
async def cluster(config_of: Callable[..., ServerConfig], sample: Sample) -> AsyncIterator[Front]:
    async with started(config_of(bootstrap=True), sample) as made:
        yield made


async def names(front: Front) -> list[str]:
    return [item["metadata"]["name"] for item in (await front.call("GET", APISERVICES))["items"]]


def definition(**versions: bool) -> Any:
    schema = {"openAPIV3Schema": {"type": "object"}}
    listed = [
        {"name": name, "served": served, "storage": index == 0, "schema": schema}
        for index, (name, served) in enumerate(versions.items())
    ]
    named = {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"}
    spec = {"group": "ex.io", "scope": "Namespaced", "names": named, "versions": listed}
    return {"metadata": {"name": "foos.ex.io"}, "spec": spec}


async def test_each_built_in_version_is_registered_as_local_and_available(cluster: Front) -> None:
    wanted = {
        f"{version}.{group}"
        for group, versions in standard().today().groups().items()
        for version in versions
        if group != "apiregistration.k8s.io"
    }
    wanted |= {"v1.metrics.k8s.io", "v1beta1.metrics.k8s.io"}  # answered here, and anybody's to take
    await until(lambda: names(cluster), lambda found: wanted == set(found))
    apps = await cluster.call("GET", f"{APISERVICES}/v1.apps")
    assert apps["metadata"]["labels"] == {LABEL: "onstart"}
    assert apps["spec"] == {"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15}
    (condition,) = apps["status"]["conditions"]
    assert condition["lastTransitionTime"] == apps["metadata"]["creationTimestamp"]
    del condition["lastTransitionTime"]
    message = "Local APIServices are always available"
    assert condition == {"type": "Available", "status": "True", "reason": "Local", "message": message}
    core = await cluster.call("GET", f"{APISERVICES}/v1.")
    assert core["spec"] == {"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1}


async def test_each_served_version_of_custom_resources_is_registered(cluster: Front) -> None:
    await cluster.call("POST", CRDS, definition(v1=True, v1beta1=True, v1alpha1=False))
    ours = {"v1.ex.io", "v1beta1.ex.io"}
    await until(lambda: names(cluster), lambda found: {n for n in found if n.endswith("ex.io")} == ours)
    found = await cluster.call("GET", f"{APISERVICES}/v1.ex.io")
    assert found["metadata"]["labels"] == {LABEL: "true"}
    assert found["spec"] == {"group": "ex.io", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 100}
    # It is kept: deleted it comes back, changed it is put right.
    await cluster.call("DELETE", f"{APISERVICES}/v1.ex.io")
    again = await until(lambda: names(cluster), lambda found: "v1.ex.io" in found)
    assert "v1beta1.ex.io" in again


async def test_versions_of_custom_resources_go_with_their_definition(cluster: Front) -> None:
    await cluster.call("POST", CRDS, definition(v1=True))
    await until(lambda: names(cluster), lambda found: "v1.ex.io" in found)
    await cluster.call("DELETE", f"{CRDS}/foos.ex.io")
    await until(lambda: names(cluster), lambda found: "v1.ex.io" not in found)


async def test_one_that_was_handed_back_says_that_it_is_local(cluster: Front, bundle: str) -> None:
    await cluster.register(caBundle=bundle)
    await cluster.until_said("Passed")
    found = await cluster.call("GET", f"{APISERVICES}/v1alpha1.wardle.example.com")
    del found["spec"]["service"], found["spec"]["caBundle"]
    await cluster.call("PUT", f"{APISERVICES}/v1alpha1.wardle.example.com", found)
    assert (await cluster.until_said("Local"))["status"] == "True"


async def test_a_restart_writes_nothing_where_all_is_there_and_takes_back_what_it_serves_no_longer(
    config_of: Callable[..., ServerConfig], sample: Sample
) -> None:
    class Kept(MemoryStore):
        async def close(self) -> None:
            """Lives on for the next server."""

    store = Kept()
    outdated = {"metadata": {"name": "v1.gone.io", "labels": {LABEL: "onstart"}}, "spec": {**LOCAL, "group": "gone.io"}}
    async with started(config_of(bootstrap=True), sample, store=store) as first:
        await until(lambda: names(first), lambda found: len(found) > 20)
        before = (await first.call("GET", APISERVICES))["items"]
        await first.call("POST", APISERVICES, outdated)
    async with started(config_of(bootstrap=True), sample, store=store, present=True) as second:
        # The last to be looked at: what a version before this one served, and this one does not.
        await until(lambda: names(second), lambda found: "v1.gone.io" not in found)
        assert (await second.call("GET", APISERVICES))["items"] == before


BUILT_IN = api_service("g", "v1", (1, 1), ON_START)
CUSTOM = api_service("g", "v1", (1, 1), ALWAYS)
OTHER = {**CUSTOM, "spec": {**CUSTOM["spec"], "versionPriority": 2}}
OTHER_BUILT_IN = {**BUILT_IN, "spec": OTHER["spec"]}
FOREIGN = {**CUSTOM, "metadata": {"name": "v1.g"}}


@pytest.mark.parametrize(
    ("wanted", "found", "synced", "at_start", "step"),
    [
        (None, None, False, False, ""),
        (BUILT_IN, None, False, False, "create"),
        (BUILT_IN, None, True, True, ""),
        (CUSTOM, None, True, True, "create"),
        (CUSTOM, FOREIGN, False, True, ""),
        (None, FOREIGN, False, True, ""),
        (None, BUILT_IN, False, False, ""),
        (None, BUILT_IN, False, True, "delete"),
        (None, BUILT_IN, True, True, ""),
        (BUILT_IN, OTHER_BUILT_IN, False, True, "update"),
        (BUILT_IN, OTHER_BUILT_IN, True, True, ""),
        (BUILT_IN, OTHER_BUILT_IN, False, False, ""),
        (None, CUSTOM, True, True, "delete"),
        (CUSTOM, OTHER, True, False, "update"),
        (CUSTOM, CUSTOM, False, True, ""),
        (BUILT_IN, OTHER, False, True, "update"),
    ],
)
def test_what_is_done_about_one(wanted: Any, found: Any, synced: bool, at_start: bool, step: str) -> None:
    """The table of upstream's autoregister controller."""
    assert plan(wanted, found, synced=synced, at_start=at_start) == step


def test_the_priorities_give_the_order_in_which_built_in_groups_are_listed() -> None:
    groups = registry().groups()
    found = ordered((g, version, of_built_in(g, version)) for g, versions in groups.items() for version in versions)
    assert {g: found[g] for g in groups} == groups
    assert [g for g in found if g] == [g for g in groups if g]


def test_versions_of_one_priority_go_by_maturity_then_number() -> None:
    mixed = ["v1alpha1", "foo10", "v2", "v11beta2", "v1", "v12alpha1", "foo1", "v10", "v3beta1"]
    (found,) = ordered(("g", version, (1, 1)) for version in mixed).values()
    assert found == ("v10", "v2", "v1", "v11beta2", "v3beta1", "v12alpha1", "v1alpha1", "foo1", "foo10")
