"""Whatever an object holds, policy's arithmetic gives an answer: nothing is raised but a refusal."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.podsecurity.policies import Policy, Standard, policy_of
from sampan.api.podsecurity.standards import describe, judge
from sampan.api.podsecurity.templates import is_significant
from sampan.api.quota.charging import Refused, Standing, decide, demand_of
from sampan.api.quota.evaluators import evaluator_of
from sampan.api.quota.tally import Tally

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = st.sampled_from([
    "name", "namespace", "containers", "initContainers", "ephemeralContainers", "volumes", "hostPath", "emptyDir",
    "securityContext", "capabilities", "add", "drop", "seccompProfile", "appArmorProfile", "seLinuxOptions", "type",
    "sysctls", "ports", "hostPort", "livenessProbe", "httpGet", "host", "resources", "requests", "limits", "cpu",
    "memory", "storage", "affinity", "podAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "annotations",
    "labels", "activeDeadlineSeconds", "priorityClassName", "hostUsers", "os", "phase", "deletionTimestamp",
    "deletionGracePeriodSeconds", "devices", "deviceClassName", "count", "allocatedResources", "storageClassName",
])  # fmt: skip
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1", "-5", "500m", "1Gi", "ALL", "Unconfined", "2026-01-01T00:00:00Z", "NodePort"]),
)
JSON = st.recursive(
    LEAVES, lambda below: st.lists(below, max_size=4) | st.dictionaries(KEYS, below, max_size=6), max_leaves=12
)
OBJECTS = st.fixed_dictionaries(
    {},
    optional={"metadata": st.dictionaries(KEYS, JSON, max_size=4), "spec": st.dictionaries(KEYS, JSON), "status": JSON},
)


@settings(max_examples=40)
@given(OBJECTS, OBJECTS, st.integers(0, 40))
def test_any_pod_is_judged(new: dict[str, Any], old: dict[str, Any], minor: int) -> None:
    metadata, spec = new.get("metadata", {}), new.get("spec", {})
    found = judge(Standard("restricted", minor), metadata, spec)
    assert bool(describe(found)) == bool(found)
    is_significant(new, old)


@given(st.dictionaries(st.sampled_from([f"pod-security.kubernetes.io/{mode}" for mode in ("enforce", "warn-version")]),
                       st.text(max_size=6)))  # fmt: skip
def test_any_label_has_a_meaning(labels: dict[str, str]) -> None:
    policy, faults = policy_of(labels, Policy())
    assert policy.enforce.level != "privileged" or not faults or "enforce" not in str(faults)


@settings(max_examples=40)
@given(
    OBJECTS,
    OBJECTS,
    st.sampled_from(
        [("", "pods"), ("", "services"), ("", "persistentvolumeclaims"), ("resource.k8s.io", "resourceclaims")]
    ),
    st.dictionaries(st.sampled_from(["pods", "cpu", "requests.storage", "services", "count/pods"]), LEAVES),
)
def test_any_object_is_counted(
    new: dict[str, Any], old: dict[str, Any], resource: tuple[str, str], hard: dict[str, Any]
) -> None:
    evaluator = evaluator_of(resource)
    assert evaluator is not None
    scopes = ["BestEffort", "Terminating", "PriorityClass", "CrossNamespacePodAffinity", "VolumeAttributesClass"]
    plain = {"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": hard}}
    scoped = {**plain, "spec": {"hard": hard, "scopes": scopes}}
    for quota in (plain, scoped):
        with contextlib.suppress(Refused):
            decide(demand_of(evaluator, new, old, NOW), [Standing.of(quota)])
        tally = Tally(quota, {resource: evaluator})
        if resource in tally.resources:
            tally.put(resource, new, NOW)
