"""Discovery says of every built-in resource what the reference says, in all its forms and in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.reference.facts import compare, recorded

from sampan.api.kind import STANDARD_VERBS
from sampan.api.registry import registry
from sampan.server.discovery import documents

Facts = dict[str, Any]
#: former versions that are served too are no part of the record (tests/server/versions)
TODAY = registry().today()


def verbs(listed: list[str]) -> Any:
    return "*" if tuple(listed) == STANDARD_VERBS else listed


def group_versions() -> list[tuple[str, str]]:
    return [(group, version) for group, versions in TODAY.groups().items() for version in versions]


def record() -> Facts:
    facts = dict(recorded("discovery"))
    groups: dict[str, list[str]] = facts.pop("groups")
    return {**facts, "order of groups": list(groups), **{f"versions of {g}": v for g, v in groups.items()}}


def order() -> Facts:
    groups = TODAY.groups()
    return {"order of groups": list(groups), **{f"versions of {g}": list(v) for g, v in groups.items()}}


def from_lists() -> Iterator[tuple[str, Facts]]:
    for group, version in group_versions():
        listed = documents.api_resource_list(TODAY, group, version)
        assert listed is not None
        names = [resource["name"] for resource in listed["resources"]]
        assert names == sorted(names)
        for resource in listed["resources"]:
            whose = "/".join(filter(None, (resource.get("group"), resource.get("version"), resource["kind"])))
            facts: Facts = {"kind": whose, "verbs": verbs(resource["verbs"])}
            if "/" not in resource["name"]:
                facts["scope"] = "Namespaced" if resource["namespaced"] else "Cluster"
                facts["singular"] = resource["singularName"]
            else:
                assert resource["singularName"] == ""
            for key in ("shortNames", "categories", "storageVersionHash"):
                if key in resource:
                    facts[key] = resource[key]
            yield f"{listed['groupVersion']} {resource['name']}", facts


def from_aggregated(form: str) -> Iterator[tuple[str, Facts]]:
    for item in documents.aggregated(TODAY, TODAY.groups(), form)["items"]:
        assert set(item) == {"metadata", "versions"}
        group = item["metadata"].get("name", "")
        assert item["metadata"] == ({"name": group} if group else {})
        for version in item["versions"]:
            assert version["freshness"] == "Current"
            prefix = f"{group}/{version['version']}" if group else version["version"]
            names = [resource["resource"] for resource in version["resources"]]
            assert names == sorted(names)
            for resource in version["resources"]:
                assert set(resource["responseKind"]) == {"group", "version", "kind"}
                facts = {key: resource[key] for key in ("scope", "shortNames", "categories") if key in resource}
                facts |= {"singular": resource["singularResource"], "verbs": verbs(resource["verbs"])}
                yield f"{prefix} {resource['resource']}", {**facts, "kind": kind(resource)}
                for sub in resource.get("subresources", ()):
                    facts = {"kind": kind(sub), "verbs": sub["verbs"]}
                    yield f"{prefix} {resource['resource']}/{sub['subresource']}", facts


def kind(of: Any) -> str:
    found = of["responseKind"]
    return "/".join(filter(None, (found["group"], found["version"], found["kind"])))


def without_hash(facts: Facts) -> Facts:
    """Aggregated discovery does not tell it."""
    return {
        key: {k: v for k, v in value.items() if k != "storageVersionHash"} if isinstance(value, dict) else value
        for key, value in facts.items()
    }


def test_lists_of_resources_are_the_references() -> None:
    """Discovery should locate the groupVersion and a resource within each APIGroup"""
    compare("discovery", record(), {**order(), **dict(from_lists())})


@pytest.mark.parametrize("form", ["v2", "v2beta1"])
def test_the_aggregated_form_says_the_same_as_the_lists(form: str) -> None:
    """AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers"""
    listed = without_hash(dict(from_lists()))
    assert dict(from_aggregated(form)) == listed


def test_the_first_version_of_a_group_is_the_preferred_one() -> None:
    """Discovery should validate PreferredVersion for each APIGroup"""
    groups = TODAY.groups()
    for group in documents.api_group_list(groups)["groups"]:
        assert group["preferredVersion"] == group["versions"][0]
        assert documents.api_group(groups, group["name"]) == {"kind": "APIGroup", "apiVersion": "v1", **group}
        versions = [listed["version"] for listed in group["versions"]]
        assert versions == list(groups[group["name"]])
