"""A real cluster on etcd, with certificates that live for a minute: all of them are renewed under load, and nobody sees
it. Each renewal takes three quarters of a minute, so it runs on request: ``SAMPAN_CLUSTER_RENEWALS=20``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from machines_lab import OWN, Machine, Machines

RENEWALS = int(os.environ.get("SAMPAN_CLUSTER_RENEWALS", "0"))
CONFIG = """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: {address}, bindPort: 7443}}
nodeRegistration: {{name: m1, ignorePreflightErrors: [NumCPU, Mem]}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
certificateValidityPeriod: 1m
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machines = Machines(tmp_path, 1, kind=OWN)
    machines.wire()
    one = machines[1]
    try:
        (tmp_path / "init.yaml").write_text(CONFIG.format(address=one.ipv4))
        one.sampan("init", "--name", one.name, "--config", str(tmp_path / "init.yaml"))
        yield one
    finally:
        left = machines.close()
    assert not left, left


@pytest.mark.skipif(not RENEWALS, reason="takes 45 s a renewal: SAMPAN_CLUSTER_RENEWALS=20 runs it")
@pytest.mark.timeout(180 + 60 * RENEWALS)
def test_a_cluster_goes_through_renewals_of_everything_and_no_request_fails(machine: Machine) -> None:
    program = str(Path(__file__).with_name("renewal_load.py"))
    done = machine.run(sys.executable, program, machine.name, str(RENEWALS), timeout=120 + 60 * RENEWALS)
    told = orjson.loads(done.stdout)
    assert told["failed"] == []
    assert min(told["renewals"].values()) >= RENEWALS
    assert told["answered"] > 100 * RENEWALS
    assert told["same processes"]
