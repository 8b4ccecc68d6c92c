"""A pod network that somebody else configured: its files are taken as they stand, and none of ours is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_manifests import web
from machines_lab import OWN, Machines, reaches, running, skip_where_there_can_be_none

#: As the CNI project's own introduction has them; the place of reservations alone is the test's.
MYNET = {
    "cniVersion": "0.3.0",
    "name": "mynet",
    "type": "bridge",
    "bridge": "cni0",
    "isGateway": True,
    "ipMasq": True,
    "ipam": {"type": "host-local", "subnet": "10.22.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]},
}
LOOPBACK = {"cniVersion": "0.3.0", "type": "loopback"}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    skip_where_there_can_be_none()
    directory = tmp_path_factory.mktemp("net.d")
    ipam = {**MYNET["ipam"], "dataDir": str(directory / "ipam")}  # type: ignore[dict-item]
    (directory / "10-mynet.conf").write_text(json.dumps({**MYNET, "ipam": ipam}))
    (directory / "99-loopback.conf").write_text(json.dumps(LOOPBACK))
    made = Machines(tmp_path_factory.mktemp("cni"), count=1, kind=OWN)
    with running(made, "ipv4", "--cni-conf-dir", str(directory)) as up:
        yield up


def test_pods_have_addresses_of_that_network_and_services_lead_to_them(machine: Machines) -> None:
    kubectl = machine.cluster.kubectl()
    kubectl("apply", "-f", "-", stdin=web(replicas=2))
    kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    pods = kubectl.json("get", "pods", "-l", "app=web")["items"]
    assert all(pod["status"]["podIP"].startswith("10.22.0.") for pod in pods)
    names = {pod["metadata"]["name"] for pod in pods}
    assert reaches(kubectl, min(names), "http://web.default").strip() in names
    assert not list((Path("/var/lib/sampan") / machine.cluster.name / "cni").glob("**/*.conflist"))
