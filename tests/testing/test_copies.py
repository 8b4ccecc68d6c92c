"""Each test has a copy of a cluster that was prepared once: by kubeconfig for other programs, or in virtual time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.api.resources import CONFIG_MAPS, NODES, PODS
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import KubeConfig
from sampan.testing.prepared import Prepared

pytestmark = pytest.mark.timeout(300)

SHAPES = "nodes: [{name: big, count: 2, capacity: {cpu: 64}}]"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "boats.example.com"},
    "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "boats", "kind": "Boat"},
        "versions": [{
            "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        }],
    },
}  # fmt: skip
BOAT = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "first"}, "spec": {"sails": 2}}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    directory = tmp_path_factory.mktemp("prepared")
    with Prepared(directory, shapes=SHAPES, manifests=[DEFINITION, BOAT]) as made:
        yield made
    assert "ERROR" not in (directory / "log").read_text(), (directory / "log").read_text()


def client(kubeconfig: Path) -> Client:
    return Client(HttpTransport(KubeConfig.load(kubeconfig).connection()))


async def test_copies_have_what_was_prepared_and_see_nothing_of_each_other(prepared: Prepared, tmp_path: Path) -> None:
    with prepared.copy(tmp_path / "a"), prepared.copy(tmp_path / "b"):
        a, b = client(tmp_path / "a"), client(tmp_path / "b")
        try:
            for each in (a, b):
                boats = await each.raw("GET", "/apis/example.com/v1/namespaces/default/boats")
                assert [boat["spec"] for boat in boats["items"]] == [{"sails": 2}]
                assert {node["status"]["capacity"]["cpu"] for node in (await each.list(NODES))["items"]} == {"64"}
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "namespace": "default"}}
            await a.create(CONFIG_MAPS, made)
            assert "mine" not in [each["metadata"]["name"] for each in (await b.list(CONFIG_MAPS, "default"))["items"]]
        finally:
            await a.close()
            await b.close()


async def test_controllers_and_nodes_go_on_in_a_copy_and_logs_answer(prepared: Prepared, tmp_path: Path) -> None:
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "any"}]},
    }  # fmt: skip
    with prepared.copy(tmp_path / "a"):
        connected = client(tmp_path / "a")
        try:
            await connected.create(PODS, pod)
            async with connected.watch(PODS, "default") as events:
                async for event in events:
                    if event.object.get("status", {}).get("phase") == "Running":
                        break
            said = await connected.raw("GET", "/api/v1/namespaces/default/pods/p/log")
            assert "started; nothing runs in it" in said
        finally:
            await connected.close()


TESTS = """
import pytest
from sampan.api.resources import CONFIG_MAPS, NODES, PODS
from sampan.testing.virtual_cluster import VirtualCluster


@pytest.fixture(scope="session")
def sampan_virtual_prepared():
    with VirtualCluster(nodes=2) as cluster:
        cluster.create(CONFIG_MAPS, config("prepared"))
        yield cluster


def config(name):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


@pytest.mark.parametrize("turn", [1, 2])
def test_nobody_sees_what_another_made(sampan_virtual, turn):
    names = [each["metadata"]["name"] for each in sampan_virtual.list(CONFIG_MAPS, "default")]
    assert sorted(names) == ["kube-root-ca.crt", "prepared"]
    sampan_virtual.create(CONFIG_MAPS, config("mine"))


def test_that_fails(sampan_virtual):
    value = len(sampan_virtual.list(NODES))
    assert value == 3


def test_that_is_skipped(sampan_virtual):
    pytest.skip("not today")


async def test_that_is_asynchronous(sampan_virtual):
    pass


@pytest.mark.sampan(3)
def test_with_a_wrong_mark(sampan_kubeconfig):
    pass


@pytest.mark.sampan(shapes="nodes: [{nme: a}]")
def test_with_a_mistake_in_the_shapes(sampan_kubeconfig):
    pass


@pytest.mark.sampan(nodes=3)
def test_whose_nodes_are_prepared_already(sampan_virtual):
    pass
"""


def test_the_fixture_of_virtual_time_runs_each_test_in_a_copy_and_tells_its_outcome(tmp_path: Path) -> None:
    (tmp_path / "test_them.py").write_text(textwrap.dedent(TESTS))
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "1 failed, 2 passed, 1 skipped, 4 errors" in done.stdout, done.stdout + done.stderr
    assert "assert 2 == 3" in done.stdout
    assert "cannot be asynchronous" in done.stdout and "takes nodes=NUMBER or shapes=TEXT" in done.stdout
    assert "nodes[0]: unknown field nme" in done.stdout and "Traceback" not in done.stdout.split("= FAILURES =")[0]
    assert "override sampan_virtual_prepared" in done.stdout


KOPF = """
import json, os, subprocess, sys, time
import pytest
from kubernetes import client, config

DEFINITION = json.loads(%r)
OPERATOR = '''
import kopf

@kopf.on.create("example.com", "v1", "boats")
def built(spec, **_):
    return {"masts": spec["sails"] * 2}
'''


@pytest.fixture(scope="session")
def sampan_manifests():
    return [DEFINITION]


@pytest.mark.sampan(nodes=2)
def test_my_operator(sampan_kubeconfig, tmp_path):
    (tmp_path / "operator.py").write_text(OPERATOR)
    api = client.CustomObjectsApi(config.new_client_from_config(str(sampan_kubeconfig)))
    where = ("example.com", "v1", "default", "boats")
    boat = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": {"sails": 2}}
    operator = subprocess.Popen(
        [sys.executable, "-m", "kopf", "run", "--standalone", "-n", "default", str(tmp_path / "operator.py")],
        env={**os.environ, "KUBECONFIG": str(sampan_kubeconfig)},
    )
    try:
        api.create_namespaced_custom_object(*where, boat)
        while "built" not in api.get_namespaced_custom_object(*where, "b").get("status", {}):
            assert operator.poll() is None
            time.sleep(0.1)
        assert api.get_namespaced_custom_object(*where, "b")["status"]["built"] == {"masts": 4}
        assert len(client.CoreV1Api(api.api_client).list_node().items) == 2
    finally:
        operator.terminate()
        assert operator.wait() == 0
"""


def test_an_operator_of_kopf_runs_against_the_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_boats.py").write_text(KOPF % json.dumps(DEFINITION))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
