"""What objects of a megabyte cost: each list of theirs is gone through once, not once for each entry of another.

Each of these took minutes, or more memory than a machine has, when it was looked at pair by pair: the suite's two
seconds for a test are the bound, some ten times what is needed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api import schema
from sampan.api.kind import Kind
from sampan.api.registry import registry

# loaded here: the two seconds of the first test are for itself
schema.load()
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
