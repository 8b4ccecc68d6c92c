"""What a cluster starts with is written once, completed when cut down, and otherwise left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest

from sampan.api.errors import already_exists, not_found
from sampan.api.registry import registry
from sampan.api.transport import Call
from sampan.server.authz.policy.notation import binding, role
from sampan.server.bootstrap.ensure import ensure, reconcile
from sampan.server.bootstrap.flow import flow_control
from sampan.server.bootstrap.objects import BootstrapConfig, kubernetes_service

CONFIG = BootstrapConfig(
    service_ip="10.96.0.1", service_cidrs=("10.96.0.0/16",), advertise_address="192.0.2.1", port=6443, client_ca="PEM"
)


PLURALS = {kind.plural for kind in registry().stored()}


class DictTransport:
    """Stores what is posted and put, by path; lists by collection path over all namespaces."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.writes: list[tuple[str, str]] = []

    async def call(self, call: Call) -> Any:
        if call.method == "GET":
            *above, last = unquote(call.path).split("/")
            if last not in PLURALS:
                return self._get(unquote(call.path))
            base = "/".join([*above, ""])
            found = [o for p, o in self.objects.items() if p.startswith(base) and p.split("/")[-2] == last]
            return {"items": [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in found]}
        path = unquote(call.path) if call.method != "POST" else f"{call.path}/{call.body['metadata']['name']}"
        self.writes.append((call.method, path))
        if call.method == "DELETE":
            return self.objects.pop(path)
        if call.method == "POST" and path in self.objects:
            raise already_exists("x", "x")
        self.objects[path] = call.body
        return call.body

    def _get(self, path: str) -> Any:
        if path not in self.objects:
            raise not_found("x", "x")
        return self.objects[path]

    def watch(self, call: Call) -> Any:
        raise AssertionError("bootstrap does not watch")

    def cache_view(self, resource: Any) -> None:
        return None

    async def close(self) -> None:
        return None


async def test_a_second_start_writes_nothing() -> None:
    transport = DictTransport()
    await ensure(transport, CONFIG)
    assert {"/api/v1/namespaces/kube-node-lease", "/api/v1/namespaces/default/services/kubernetes"} <= set(
        transport.objects
    )
    transport.writes.clear()
    await ensure(transport, CONFIG)
    assert transport.writes == []


async def test_lost_policy_comes_back_and_additions_stay() -> None:
    transport = DictTransport()
    await ensure(transport, CONFIG)
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:discovery"
    extra = {"verbs": ["get"], "nonResourceURLs": ["/mine"]}
    transport.objects[path]["rules"] = [extra]
    transport.writes.clear()
    await ensure(transport, CONFIG)
    assert transport.writes == [("PUT", path)]
    rules = transport.objects[path]["rules"]
    assert rules[0] == extra
    assert any("/openapi" in rule["nonResourceURLs"] for rule in rules)


@pytest.mark.parametrize(("automatic", "comes_back"), [("true", True), ("false", False)])
def test_flow_control_has_its_default_spec_unless_it_opted_out(automatic: str, comes_back: bool) -> None:
    (wanted,) = [obj for obj in flow_control() if obj["metadata"]["name"] == "workload-low"]
    metadata = {"name": "workload-low", "annotations": {"apf.kubernetes.io/autoupdate-spec": automatic}}
    changed = reconcile(wanted, {**wanted, "metadata": metadata, "spec": {"type": "Exempt"}})
    assert (changed is not None) is comes_back
    assert changed is None or changed["spec"] == wanted["spec"]


def test_policy_that_opted_out_is_left_alone() -> None:
    wanted = role("x", "get | core | pods")
    found = role("x", "")
    found["metadata"]["annotations"] = {"rbac.authorization.kubernetes.io/autoupdate": "false"}
    assert reconcile(wanted, found) is None


def test_missing_subjects_are_added_and_another_role_replaces() -> None:
    wanted = binding("b", "r", "User:a", "User:b")
    changed = reconcile(wanted, binding("b", "r", "User:b", "User:c"))
    assert changed is not None
    assert [subject["name"] for subject in changed["subjects"]] == ["b", "c", "a"]
    assert reconcile(wanted, binding("b", "other", "User:a")) == wanted


@pytest.mark.parametrize(("address", "changes"), [("192.0.2.1", False), ("192.0.2.9", True)])
def test_the_endpoints_follow_the_servers_address(address: str, changes: bool) -> None:
    def endpoints(ip: str) -> dict[str, Any]:
        return {"kind": "Endpoints", "apiVersion": "v1", "metadata": {}, "subsets": [{"addresses": [{"ip": ip}]}]}

    assert (reconcile(endpoints(address), endpoints("192.0.2.1")) is not None) is changes


def test_a_server_that_only_its_own_machine_hears_has_no_endpoints() -> None:
    """They would be refused: nothing in a pod reaches the loopback of its node."""
    kinds = [obj["kind"] for obj in kubernetes_service(replace(CONFIG, advertise_address="127.0.0.1"))]
    assert kinds == ["Service", "ServiceCIDR"]
    assert {"Endpoints", "EndpointSlice"} < {obj["kind"] for obj in kubernetes_service(CONFIG)}
