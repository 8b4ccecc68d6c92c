"""What a ResourceQuota may say, and what its evaluators count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.api.clock import format_time
from sampan.api.kind import Kind
from sampan.api.quota.amounts import write as written
from sampan.api.quota.evaluators import Evaluator, evaluator_of
from sampan.api.quota.scopes import covers
from sampan.api.quota.tally import Tally
from sampan.api.registry import registry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POD = ("", "pods")


def kind() -> Kind:
    found = registry().by_resource("", "v1", "resourcequotas")
    assert found is not None
    return found


def evaluator(group: str, plural: str) -> Evaluator:
    found = evaluator_of((group, plural))
    assert found is not None
    return found


def pod(*resources: dict[str, Any], **spec: Any) -> dict[str, Any]:
    containers = [{"name": f"c{index}", "resources": found} for index, found in enumerate(resources or ({},))]
    return {"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}


def used(obj: dict[str, Any], group: str = "", plural: str = "pods") -> dict[str, str]:
    return written(evaluator(group, plural).usage(obj, NOW))


@pytest.mark.parametrize(
    ("spec", "faults"),
    [
        ({"hard": {"cpu": "1", "requests.example.com/gpu": "1", "count/jobs.batch": "1", "hugepages-2Mi": "1"}}, []),
        ({"hard": {"nonsense": "1"}}, [
            'spec.hard[nonsense]: Invalid value: "nonsense": must be a standard resource type or fully qualified',
            'spec.hard[nonsense]: Invalid value: "nonsense": must be a standard resource for quota',
        ]),
        ({"hard": {"storage": "1"}}, [
            'spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota'
        ]),
        ({"hard": {"pods": "500m"}}, ['spec.hard[pods]: Invalid value: "500m": must be an integer']),
        ({"hard": {"services": "1"}, "scopes": ["BestEffort"]}, [
            'spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource'
        ]),
        ({"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}, [
            'spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource'
        ]),
        ({"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}, [
            'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes'
        ]),
        ({"hard": {"pods": "1"}, "scopes": ["Other"]}, ['spec.scopes: Invalid value: ["Other"]: unsupported scope']),
        ({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In"}
        ]}}, [
            "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is "
            "'In' or 'NotIn' for scope selector"
        ]),
        ({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "Exists", "values": ["a"]}
        ]}}, [
            'spec.scopeSelector.matchExpressions.values: Invalid value: ["a"]: must be no value when `operator` is '
            "'Exist' or 'DoesNotExist' for scope selector"
        ]),
    ],
)  # fmt: skip
def test_a_quota_is_told_what_it_may_not_say(spec: dict[str, Any], faults: list[str]) -> None:
    assert [fault.message() for fault in kind().validate({"metadata": {"name": "q"}, "spec": spec})] == faults


def test_a_plain_scope_takes_no_other_operator_than_exists() -> None:
    term = {"scopeName": "BestEffort", "operator": "DoesNotExist"}
    quota = {"spec": {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [term]}}}
    [fault] = kind().validate(quota)
    assert fault.field == "spec.scopeSelector.matchExpressions.operator"


def test_the_scopes_of_a_quota_stay_in_whatever_order() -> None:
    old = {"spec": {"scopes": ["NotBestEffort", "Terminating"]}}
    assert kind().validate_update({"spec": {"scopes": ["Terminating", "NotBestEffort"]}}, old) == []
    [fault] = kind().validate_update({"spec": {"scopes": ["Terminating"]}}, old)
    assert fault.message() == 'spec.scopes: Invalid value: ["Terminating"]: field is immutable'


# Pods


def test_a_pod_counts_what_it_asks_for_under_every_name_of_it() -> None:
    asked = {
        "requests": {"cpu": "250m", "memory": "64Mi", "example.com/gpu": "2", "hugepages-2Mi": "4Mi"},
        "limits": {"cpu": "1", "memory": "128Mi", "ephemeral-storage": "1Gi", "example.com/gpu": "2"},
    }
    assert used(pod(asked, {"requests": {"cpu": "250m"}}, overhead={"cpu": "100m"})) == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "600m",
        "requests.cpu": "600m",
        "limits.cpu": "1100m",
        "memory": "64Mi",
        "requests.memory": "64Mi",
        "limits.memory": "128Mi",
        "limits.ephemeral-storage": "1Gi",
        "hugepages-2Mi": "4Mi",
        "requests.hugepages-2Mi": "4Mi",
        "requests.example.com/gpu": "2",
    }


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_has_ended_counts_as_an_object_only(phase: str) -> None:
    ended = {**pod({"requests": {"cpu": "1"}}), "status": {"phase": phase}}
    assert used(ended) == {"count/pods": "1"}


def test_a_pod_that_is_overdue_to_go_counts_no_longer_and_the_tally_says_when() -> None:
    meta = {"name": "p", "deletionTimestamp": format_time(NOW), "deletionGracePeriodSeconds": 30}
    going = {**pod({"requests": {"cpu": "1"}}), "metadata": meta}
    assert used(going)["cpu"] == "1"
    late = NOW + timedelta(seconds=31)
    assert written(evaluator(*POD).usage(going, late)) == {"count/pods": "1"}
    tally = Tally({"spec": {"hard": {"cpu": "5"}}}, {POD: evaluator(*POD)})
    tally.put(POD, going, NOW)
    assert (written(tally.used), tally.due(NOW), tally.seconds_until_due(NOW)) == ({"cpu": "1"}, [], 31.0)
    assert tally.due(late) == ["p"]
    tally.put(POD, going, late)
    assert (written(tally.used), tally.seconds_until_due(late)) == ({"cpu": "0"}, None)


@pytest.mark.parametrize("grace", [10**12, 2**63 - 1])
def test_a_pod_that_goes_with_a_grace_beyond_all_dates_counts_until_it_is_gone(grace: int) -> None:
    meta = {"name": "p", "deletionTimestamp": format_time(NOW), "deletionGracePeriodSeconds": grace}
    going = {**pod({"requests": {"cpu": "1"}}), "metadata": meta}
    tally = Tally({"spec": {"hard": {"cpu": "5"}}}, {POD: evaluator(*POD)})
    tally.put(POD, going, NOW)
    assert (written(tally.used), tally.due(NOW)) == ({"cpu": "1"}, [])


def test_the_whole_pods_resources_stand_for_its_containers() -> None:
    whole = pod({}, resources={"requests": {"cpu": "2"}})
    assert used(whole)["requests.cpu"] == "2"
    assert evaluator(*POD).missing({"cpu", "requests.cpu"}, whole) == ""


def test_each_container_must_say_what_is_limited_of_cpu_and_memory() -> None:
    silent = pod({"requests": {"cpu": "1"}}, {}, initContainers=[{"name": "i"}])
    wanted = {"requests.cpu", "limits.memory", "requests.ephemeral-storage", "pods"}
    said = evaluator(*POD).missing(wanted, silent)
    assert said == "must specify limits.memory for: c0,c1,i; requests.cpu for: c1,i"


@pytest.mark.parametrize(
    ("scope", "spec", "inside"),
    [
        ("Terminating", {"activeDeadlineSeconds": 0}, True),
        ("Terminating", {}, False),
        ("NotTerminating", {}, True),
        ("BestEffort", {}, True),
        ("NotBestEffort", {"resources": {"requests": {"cpu": "1"}}}, True),
        ("PriorityClass", {"priorityClassName": "x"}, True),
        ("PriorityClass", {}, False),
        ("CrossNamespacePodAffinity", {}, False),
        (
            "CrossNamespacePodAffinity",
            {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"podAffinityTerm": {"namespaceSelector": {}}}
            ]}}},
            True,
        ),
    ],
)  # fmt: skip
def test_a_pod_is_in_a_scope_by_what_it_is(scope: str, spec: dict[str, Any], inside: bool) -> None:
    assert covers({"spec": {"scopes": [scope]}}, evaluator(*POD), pod(**spec)) is inside


@pytest.mark.parametrize(
    ("operator", "values", "of"),
    [("In", ["a"], {"a"}), ("NotIn", ["a"], {"b", ""}), ("Exists", [], {"a", "b"}), ("DoesNotExist", [], {""})],
)
def test_a_selector_of_priority_classes_chooses_pods(operator: str, values: list[str], of: set[str]) -> None:
    term = {"scopeName": "PriorityClass", "operator": operator, "values": values}
    quota = {"spec": {"scopeSelector": {"matchExpressions": [term]}}}
    found = {name for name in ("a", "b", "") if covers(quota, evaluator(*POD), pod(priorityClassName=name))}
    assert found == of


# Other objects


@pytest.mark.parametrize(
    ("spec", "ports", "balancers"),
    [
        ({"ports": [{}]}, "0", "0"),
        ({"type": "NodePort", "ports": [{}, {}]}, "2", "0"),
        ({"type": "LoadBalancer", "ports": [{}, {}]}, "2", "1"),
        (
            {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"nodePort": 30000}, {}]},
            "1",
            "1",
        ),
    ],
)
def test_a_service_counts_the_ports_it_takes_of_nodes(spec: dict[str, Any], ports: str, balancers: str) -> None:
    found = used({"spec": spec}, plural="services")
    assert (found["services.nodeports"], found["services.loadbalancers"]) == (ports, balancers)


def test_a_claim_counts_whole_bytes_and_what_is_allocated_while_it_grows() -> None:
    claim = {"spec": {"resources": {"requests": {"storage": "1500m"}}}}
    assert used(claim, plural="persistentvolumeclaims")["requests.storage"] == "2"
    claim["status"] = {"allocatedResources": {"storage": "2Gi"}}
    assert used(claim, plural="persistentvolumeclaims")["requests.storage"] == "2Gi"


def test_claims_are_chosen_by_the_attributes_they_have_or_get() -> None:
    term = {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["fast"]}
    quota = {"spec": {"scopeSelector": {"matchExpressions": [term]}}}
    claims = evaluator("", "persistentvolumeclaims")
    assert covers(quota, claims, {"spec": {"volumeAttributesClassName": "fast"}})
    assert covers(quota, claims, {"status": {"modifyVolumeStatus": {"targetVolumeAttributesClassName": "fast"}}})
    assert not covers(quota, claims, {"spec": {"volumeAttributesClassName": "slow"}})


def test_a_claim_of_devices_counts_the_most_it_may_get_of_each_class() -> None:
    requests = [
        {"name": "a", "exactly": {"deviceClassName": "gpu", "count": 2}},
        {"name": "b", "firstAvailable": [{"deviceClassName": "gpu", "count": 3}, {"deviceClassName": "nic"}]},
        {"name": "d", "exactly": {"deviceClassName": "all", "allocationMode": "All"}},
    ]
    found = used({"spec": {"devices": {"requests": requests}}}, "resource.k8s.io", "resourceclaims")
    suffix = ".deviceclass.resource.k8s.io/devices"
    assert found == {
        "count/resourceclaims.resource.k8s.io": "1",
        f"gpu{suffix}": "5",
        f"nic{suffix}": "1",
        f"all{suffix}": "32",
    }


@pytest.mark.parametrize("resource", [("", "events"), ("events.k8s.io", "events"), ("", "bindings")])
def test_some_objects_are_never_counted(resource: tuple[str, str]) -> None:
    assert evaluator_of(resource) is None


@pytest.mark.parametrize("junk", [None, 5, "x", [], {"a": None}])
@pytest.mark.parametrize("resource", [POD, ("", "services"), ("", "persistentvolumeclaims"), ("a.b", "c")])
def test_damaged_objects_are_counted_without_an_error(resource: tuple[str, str], junk: Any) -> None:
    for obj in ({"metadata": junk, "spec": junk, "status": junk}, {"spec": {"containers": [junk], "ports": junk}}):
        evaluator(*resource).usage(obj, NOW)
        covers({"spec": {"scopes": ["BestEffort", "Terminating", "PriorityClass"]}}, evaluator(*resource), obj)


# Tallies


def test_a_tally_is_the_sum_of_what_is_there() -> None:
    maps, quota = ("", "configmaps"), {"spec": {"hard": {"configmaps": "9", "cpu": "9", "unknown/x": "1"}}}
    tally = Tally(quota, {maps: evaluator(*maps), POD: evaluator(*POD)})
    assert written(tally.used) == {"configmaps": "0", "cpu": "0"}
    tally.put(maps, {"metadata": {"name": "a"}}, NOW)
    for cpu in ("1", "2500m"):
        tally.put(POD, pod({"requests": {"cpu": cpu}}), NOW)
    assert written(tally.used) == {"configmaps": "1", "cpu": "2500m"}
    tally.drop(POD, "p")
    tally.drop(POD, "p")
    assert written(tally.used) == {"configmaps": "1", "cpu": "0"}
    assert (tally.has(maps, "a"), tally.has(POD, "p")) == (True, False)
    assert tally.is_of(quota) and not tally.is_of({"spec": {"hard": {"configmaps": "8"}}})
