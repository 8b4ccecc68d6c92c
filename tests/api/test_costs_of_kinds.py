"""What objects of a megabyte cost: each list of theirs is gone through once, not once for each entry of another.

Each of these took minutes, or more memory than a machine has, when it was looked at pair by pair: the suite's two
seconds for a test are the bound, some ten times what is needed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api import errors, metadata, schema
from sampan.api.groups.core import pod_strategy, tls_pair
from sampan.api.kind import Kind
from sampan.api.pods import requests
from sampan.api.registry import registry
from sampan.api.validation import pem, security, totals, volumes
from sampan.api.validation import pod as pod_rules
from sampan.api.validation import pod as pod_validation
from sampan.api.validation.options import TEMPLATE

# loaded here: the two seconds of the first test are for itself
schema.load()
registry()
_MANY = 8_000


def _kind(plural: str) -> Kind:
    found = registry().by_resource("", "v1", plural)
    assert found is not None
    return found


def _pod(container: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "n", **fields.pop("metadata", {})},
        "spec": {"containers": [{"name": "c", "image": "i", **container}], **fields},
    }


def test_of_ports_that_are_all_the_same_a_hundred_pairs_are_named() -> None:
    pod = _pod({"ports": [{"containerPort": 80}] * _MANY})
    said = _kind("pods").warnings(pod, None)
    assert 100 <= len(said) <= 200
    assert said[0] == ("spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]")
    assert said[2].endswith("spec.containers[0].ports[2]: duplicate port definition with spec.containers[0].ports[1]")


@pytest.mark.parametrize("address", ["", "10.0.0.{}"], ids=["numbers", "addresses"])
def test_ports_of_the_host_that_go_together_are_not_compared_with_each_other(address: str) -> None:
    ports = [
        {"containerPort": 80, "protocol": "TCP", "hostPort": 80 if address else index + 1}
        | ({"hostIP": address.format(index)} if address else {})
        for index in range(_MANY)
    ]
    assert _kind("pods").warnings(_pod({"ports": ports}), None) == []
    ports.append({"containerPort": 80, "protocol": "TCP", "hostPort": 80, "hostIP": "10.0.0.7"})
    told = (
        "duplicate port definition with spec.containers[0].ports[7]"
        if address
        else ("dangerously ambiguous port definition with spec.containers[0].ports[79]")
    )
    assert _kind("pods").warnings(_pod({"ports": ports}), None) == [f"spec.containers[0].ports[{_MANY}]: {told}"]


def test_mounts_are_not_compared_with_each_device() -> None:
    pod = _pod(
        {
            "volumeMounts": [{"name": "v", "mountPath": f"/m/{index}"} for index in range(_MANY)],
            "volumeDevices": [{"name": f"d{index}", "devicePath": f"/d/{index}"} for index in range(_MANY)],
        }
    )
    kind = _kind("pods")
    kind.default(pod)
    found = kind.validate(pod)
    assert len(found) == 2 * _MANY  # no such volumes
    assert {fault.reason for fault in found} == {"FieldValueNotFound"}


def test_keys_of_a_term_are_not_compared_with_each_other() -> None:
    term = {
        "topologyKey": "k", "labelSelector": {},
        "matchLabelKeys": [f"a{index}" for index in range(_MANY)],
        "mismatchLabelKeys": [f"b{index}" for index in range(_MANY - 1)] + ["a7"],
    }  # fmt: skip
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    kind, pod = _kind("pods"), _pod({}, affinity=affinity)
    kind.default(pod)
    faults = [fault.detail for fault in kind.validate(pod)]
    assert faults == ['Invalid value: "a7": exists in both matchLabelKeys and mismatchLabelKeys']


def test_endpoints_of_millions_of_addresses_with_ports_are_counted_without_being_made() -> None:
    subset = {
        "addresses": [{"ip": f"10.0.{index // 256}.{index % 256}"} for index in range(_MANY)],
        "ports": [{"name": f"p{index}", "port": index + 1} for index in range(_MANY)],
    }
    endpoints = {"metadata": {"name": "a"}, "subsets": [subset, {"addresses": [{"ip": "::1"}]}]}
    row = _kind("endpoints").row
    assert row is not None
    cells = row(endpoints, datetime(2026, 1, 1, tzinfo=UTC))
    assert cells[1] == f"10.0.0.0:1,10.0.0.1:1,10.0.0.2:1 + {_MANY * _MANY - 2} more..."


@pytest.mark.parametrize("scope", ["BestEffort", "Nobody"])
def test_scopes_of_a_quota_are_not_each_shown_with_all_others(scope: str) -> None:
    hard = {f"hugepages-{index + 1}": "1" for index in range(_MANY)}
    terms = [{"scopeName": scope, "operator": "Exists"}] * _MANY
    spec = {"hard": hard, "scopes": [scope] * _MANY, "scopeSelector": {"matchExpressions": terms}}
    found = _kind("resourcequotas").validate({"metadata": {"name": "q"}, "spec": spec})
    assert {fault.field for fault in found} >= {"spec.scopes"}
    assert len(found) <= 4 * errors.MOST_CAUSES


def test_owners_that_all_control_an_object_are_not_each_shown_with_all_others() -> None:
    owners = [
        {"apiVersion": "v1", "kind": "Pod", "name": f"p{index}", "uid": str(index), "controller": True}
        for index in range(_MANY)
    ]
    meta = {"name": "c", "namespace": "n", "ownerReferences": owners}
    found = metadata.validate_create({"metadata": meta}, _kind("configmaps"))
    assert len(found) == errors.MOST_CAUSES + 1
    assert found[0].field == "metadata.ownerReferences"
    assert found[0].detail.startswith('Invalid value: [{"apiVersion":"v1","kind":"Pod","name":"p0"')
    assert found[0].detail.endswith("for p0 and p1")


def test_addresses_of_a_node_are_not_compared_with_all_before_them() -> None:
    cidrs = [f"10.{index // 256}.{index % 256}.0/24" for index in range(_MANY)] + ["10.0.0.0/24"]
    node = {"metadata": {"name": "n"}, "spec": {"podCIDRs": cidrs}, "status": {}}
    last = _kind("nodes").validate(node)[-1]
    assert (last.field, last.detail) == (f"spec.podCIDRs[{_MANY}]", 'Duplicate value: "10.0.0.0/24"')


def test_a_toleration_more_is_not_compared_with_each_of_thousands() -> None:
    kind = _kind("pods")
    tolerations = [{"key": f"k{index}", "operator": "Exists"} for index in range(_MANY)]
    old, new = (_pod({}, tolerations=[*tolerations, *more]) for more in ([], [{"key": "x", "operator": "Exists"}]))
    for pod in (old, new):
        kind.default(pod)
    assert kind.validate_update(new, old) == []
    new["spec"]["tolerations"] = new["spec"]["tolerations"][1:]
    said = [fault.detail for fault in kind.validate_update(new, old)]
    assert said == ["Forbidden: existing toleration can not be modified except its tolerationSeconds"]


def test_keys_of_labels_become_requirements_in_one_go() -> None:
    constraint = {"topologyKey": "z", "labelSelector": {}, "matchLabelKeys": ["app"] * (20 * _MANY)}
    pod = _pod({}, metadata={"labels": {"app": "a"}}, topologySpreadConstraints=[constraint])
    pod_strategy.complete(pod)
    assert len(pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"]) == 20 * _MANY


def test_an_escalation_that_is_asked_for_thousands_of_times_is_refused_hundreds_of_times() -> None:
    context = {"allowPrivilegeEscalation": False, "capabilities": {"add": ["CAP_SYS_ADMIN"] * _MANY}}
    found = security.security_context(context, "securityContext")
    assert len(found) == errors.MOST_CAUSES
    assert found[0].detail.endswith(
        "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
    )


def test_a_registry_of_a_million_empty_pairs_is_refused_hundreds_of_times() -> None:
    found, _ = volumes.volumes(
        [{"name": "q", "quobyte": {"registry": "," * 10**6, "volume": "v"}}], "volumes", TEMPLATE
    )
    assert {fault.field for fault in found} == {"volumes[0].quobyte.registry"}
    assert len(found) == errors.MOST_CAUSES


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("iqn.2020-01.com.example:target", True),
        ("iqn iqn.2020-01.a:b", True),
        ("iqn.2020-01.a:b:c", True),
        ("iqn.2020-01.a::", True),
        ("iqn.2020-01.a:", False),
        ("iqn.2020-01.:a", False),
        ("iqn.2020-01.a:b c", False),
        ("iqn.2020-01.a_b:c", False),
        ("iqn.2020-01.a:b\n", False),
        ("iqn.2020-01." * 100_000, False),
        ("iqn.2020-01." * 100_000 + ":x", True),
        ("eui.0123456789abcdef", True),
        ("eui.0123456789abcdef\n", False),
    ],
)
def test_names_of_iscsi_targets_cost_what_they_are_long(name: str, right: bool) -> None:
    faults = volumes.iscsi({"targetPortal": "p", "iqn": name}, "iscsi")
    assert [fault.field for fault in faults] == ([] if right else ["iscsi.iqn"])


def test_thousands_of_beginnings_of_pem_cost_what_they_are_long() -> None:
    begun = b"-----BEGIN CERTIFICATE-----\n" * 40_000
    assert list(pem.blocks(begun)) == []
    block = b"-----BEGIN A-----\nk: v\n\nAAAA\n-----END A-----\n"
    found = [*pem.blocks(begun + block * 2 + begun + b"-----BEGIN B-----\n-----END B-----")]
    assert [(each.kind, each.headers, each.der) for each in found] == [
        ("A", True, b"\0\0\0"), ("A", True, b"\0\0\0"), ("B", False, b""),
    ]  # fmt: skip
    assert found[0].text + b"\n" == block
    assert tls_pair.fault(begun[:100_000], b"") == "tls: failed to find any PEM data in certificate input"


@pytest.mark.parametrize(
    "text",
    [
        b"x-----BEGIN A-----\nAAAA\n-----END A-----",  # not at the beginning of a line
        b"-----BEGIN A----\nAAAA\n-----END A-----",
        b"-----BEGIN A-----\nAAAA\n-----END B-----",
        b"-----BEGIN A-----\nAAAA\n-----END A----- x",
        b"-----BEGIN A-----\nAAA\n-----END A-----",  # no base64
        b"-----BEGIN A-----\nAAAA-----END A-----",
    ],
)
def test_what_is_no_block_of_pem_is_passed_over(text: bytes) -> None:
    assert list(pem.blocks(text)) == []
    after = b"\n-----BEGIN B-----\r\nAA\r\nAA\r\n-----END B----- \r\nmore"
    assert [(each.kind, each.der) for each in pem.blocks(text + after)] == [("B", b"\0\0\0")]


@pytest.mark.parametrize("known", [True, False])
def test_claims_of_a_container_are_not_each_compared_with_all_others(known: bool) -> None:
    named = [{"name": f"claim-{index}"} for index in range(_MANY)]
    of_pod = [{**each, "resourceClaimName": "x"} for each in named] if known else [{"name": "o" * 60 + "x"}]
    found = pod_validation.pod_spec(_pod({"resources": {"claims": named}}, resourceClaims=of_pod)["spec"], "spec")
    of_claims = [fault for fault in found if fault.field.startswith("spec.containers[0].resources.claims")]
    assert len(of_claims) == (0 if known else errors.MOST_CAUSES + 1)


def test_names_that_a_claim_could_have_had_are_listed_as_far_as_anybody_reads() -> None:
    known = [{"name": f"claim-{index}", "resourceClaimName": "x"} for index in range(_MANY)]
    asked = [{"name": "other"}] * _MANY
    found = pod_validation.pod_spec(_pod({"resources": {"claims": asked}}, resourceClaims=known)["spec"], "spec")
    missing = [fault for fault in found if fault.reason == "FieldValueNotFound"]
    assert "must be one of the names in pod.spec.resourceClaims: claim-0, claim-1, claim-10, " in missing[0].detail
    assert len(missing[0].detail) < 10_000


def test_init_containers_are_not_each_added_to_all_that_sidecars_ask_for() -> None:
    asked = {f"example.com/r{index}": "1" for index in range(_MANY)}
    sidecar = {"name": "s", "image": "i", "restartPolicy": "Always", "resources": {"requests": asked}}
    others = [{"name": f"i{index}", "resources": {"requests": {"cpu": "1"}}} for index in range(_MANY)]
    spec = _pod({"resources": {"requests": {"cpu": "2"}}}, initContainers=[sidecar, *others])["spec"]
    found = totals.of_containers(spec, "requests")
    assert (str(found["cpu"]), str(found["example.com/r7"]), len(found)) == ("2", "1", _MANY + 1)
    counted = requests.pod_requests({"metadata": {}, "spec": spec})
    assert (counted["cpu"], counted["example.com/r7"], len(counted)) == (2000, 1, _MANY + 1)


def test_devices_that_a_node_tells_of_are_not_each_compared_with_all_that_were_asked_for() -> None:
    names = [f"claim-{index}" for index in range(_MANY)]
    pod = _pod({"resources": {"claims": [{"name": name} for name in names]}})
    told = [{"name": f"claim:{name}"} for name in (*names, "other")]
    new = {**pod, "status": {"containerStatuses": [{"name": "c", "allocatedResourcesStatus": told}]}}
    found = _kind("pods").validate_status(new, pod)
    where = f"status.containerStatuses[0].allocatedResourcesStatus[{_MANY}].name"
    assert [(fault.field, fault.detail[:31]) for fault in found] == [(where, 'Invalid value: "claim:other": m')]


def test_the_claims_of_a_pod_are_listed_once_for_all_its_containers() -> None:
    names = [{"name": f"c{number}", "resourceClaimName": "x"} for number in range(_MANY // 2)]
    plain = {"image": "i", "resources": {"claims": [{"name": "d"}]}}
    containers = [{"name": f"n{number}", **plain} for number in range(_MANY // 2)]
    found = pod_rules.pod_spec({"resourceClaims": names, "containers": containers}, "spec")
    assert sum("resourceClaims: c0, c1, c10" in fault.detail for fault in found) == _MANY // 2
