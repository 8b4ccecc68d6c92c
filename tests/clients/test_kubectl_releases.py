"""kubectl of every minor release from 1.20 on does what it knows, in the versions of the API that it knows.

Conformance: "Kubectl client Kubectl label should update the label on a resource", "Kubectl client Kubectl patch should
add annotations for pods".
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from client_harness import PROGRAMS, Program, Served

RELEASES = range(20, 38)
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "example.com/a:1"}]}}
OLD_PATH = {"path": "/", "pathType": "Prefix", "backend": {"serviceName": "web", "servicePort": 80}}
PATH = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
OLD_CPU = {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 50}}
SCALED = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
#: kind, its versions with the releases that knew each, and the specification in each
KINDS: dict[str, list[tuple[str, range, dict[str, Any]]]] = {
    "Ingress": [
        ("extensions/v1beta1", range(20, 22), {"rules": [{"host": "a.io", "http": {"paths": [OLD_PATH]}}]}),
        ("networking.k8s.io/v1beta1", range(20, 22), {"rules": [{"host": "a.io", "http": {"paths": [OLD_PATH]}}]}),
        ("networking.k8s.io/v1", range(20, 38), {"rules": [{"host": "a.io", "http": {"paths": [PATH]}}]}),
    ],
    "CronJob": [
        ("batch/v1beta1", range(20, 25), {"schedule": "1 1 * * *", "jobTemplate": {"spec": {"template": {}}}}),
        ("batch/v1", range(21, 38), {"schedule": "1 1 * * *", "jobTemplate": {"spec": {"template": {}}}}),
    ],
    "PodDisruptionBudget": [
        ("policy/v1beta1", range(20, 25), {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}),
        ("policy/v1", range(21, 38), {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}),
    ],
    "HorizontalPodAutoscaler": [
        ("autoscaling/v2beta1", range(20, 25), {"scaleTargetRef": SCALED, "maxReplicas": 3, "metrics": [OLD_CPU]}),
        ("autoscaling/v2beta2", range(20, 26), {"scaleTargetRef": SCALED, "maxReplicas": 3, "metrics": [CPU]}),
        ("autoscaling/v1", range(20, 38), {"scaleTargetRef": SCALED, "maxReplicas": 3}),
    ],
    "Deployment": [
        ("extensions/v1beta1", range(20, 21), {"template": TEMPLATE}),
        ("apps/v1beta1", range(20, 21), {"template": TEMPLATE}),
        ("apps/v1", range(20, 38), {"template": TEMPLATE, "selector": {"matchLabels": {"app": "web"}}}),
    ],
}  # fmt: skip
for _, _, spec in KINDS["CronJob"]:
    pod = {**TEMPLATE["spec"], "restartPolicy": "Never"}
    spec["jobTemplate"]["spec"]["template"] = {"spec": pod}


def manifests(minor: int) -> list[dict[str, Any]]:
    """Of each kind one in every version that this release knew."""
    found = []
    for kind, versions in KINDS.items():
        for number, (api_version, known, spec) in enumerate(versions):
            if minor in known:
                name = f"{kind.lower()}-{number}"
                found.append({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec})
    return found


@pytest.fixture(params=RELEASES, ids=lambda minor: f"1.{minor}")
def release(request: pytest.FixtureRequest, served: Served) -> Iterator[tuple[int, Program]]:
    path = PROGRAMS / f"kubectl-1.{request.param}"
    if not path.exists():
        pytest.fail(f"{path.name} is not there: run scripts/setup dev")
    name = f"r{request.param}-{secrets.token_hex(3)}"
    kubectl = Program(path, served, ("--namespace", name))
    kubectl("create", "namespace", name)
    yield request.param, kubectl
    kubectl("delete", "namespace", name, "--wait=false")


def test_each_release_of_kubectl_works_with_what_it_knows(release: tuple[int, Program]) -> None:
    minor, kubectl = release
    wanted = manifests(minor)
    text = yaml.safe_dump_all(wanted)
    assert kubectl("apply", "-f", "-", stdin=text).count(" created\n") == len(wanted)
    for manifest in wanted:
        manifest["metadata"]["labels"] = {"team": "a"}
    text = yaml.safe_dump_all(wanted)
    assert kubectl("apply", "-f", "-", stdin=text).count(" configured\n") == len(wanted)
    # What one version made, all show.
    listed = kubectl("get", "deployments,ing,cj,pdb,hpa", "-l", "team=a", "-o", "name").splitlines()
    assert sorted(each.partition("/")[2] for each in listed) == sorted(each["metadata"]["name"] for each in wanted)
    assert f"deployment.apps/{wanted[-1]['metadata']['name']}" in listed
    first = wanted[0]
    named = f"{resource(first)}/{first['metadata']['name']}"
    assert "patched" in kubectl("patch", named, "--type=merge", "-p", '{"metadata":{"annotations":{"a":"b"}}}')
    assert "labeled" in kubectl("label", named, "more=1")
    assert "edited" in kubectl.with_extra(KUBE_EDITOR="sed -i s/team:.a/team:\\ b/")("edit", named)
    found = kubectl.json("get", named)
    assert found["apiVersion"] == first["apiVersion"]
    assert found["metadata"]["labels"] == {"team": "b", "more": "1"}
    assert found["metadata"]["annotations"]["a"] == "b"
    assert "deployments.apps" in kubectl("api-resources", "--api-group=apps", "-o", "name")
    assert kubectl("delete", "-f", "-", "--wait=false", stdin=text).count(" deleted") == len(wanted)


def resource(manifest: dict[str, Any]) -> str:
    """As kubectl takes it with a version: ``ingresses.v1beta1.extensions``."""
    group, _, version = manifest["apiVersion"].partition("/")
    plural = {"Ingress": "ingresses"}.get(manifest["kind"], f"{manifest['kind'].lower()}s")
    return f"{plural}.{version}.{group}"


@pytest.mark.parametrize("minor", [20, 21, 24])
def test_what_old_releases_create_by_themselves_is_made(served: Served, namespace: str, minor: int) -> None:
    """In versions of their time."""
    kubectl = Program(PROGRAMS / f"kubectl-1.{minor}", served, ("--namespace", namespace))
    kubectl("create", "cronjob", "c", "--image=example.com/a", "--schedule=1 1 * * *")
    kubectl("create", "poddisruptionbudget", "p", "--selector=app=a", "--min-available=1")
    kubectl("create", "ingress", "i", "--rule=a.io/=web:80")
    kubectl("create", "role", "r", "--verb=get", "--resource=pods")
    kubectl("create", "deployment", "d", "--image=example.com/a")
    kubectl("autoscale", "deployment", "d", "--max=3")
    for kind in ("cj/c", "pdb/p", "ing/i", "role/r", "deploy/d", "hpa/d"):
        assert kubectl("get", kind, "-o", "name").count("/") == 1


@pytest.mark.parametrize("minor", [20, 28, 37])
def test_a_removed_version_is_warned_of_explained_rehearsed_and_converted(
    served: Served, namespace: str, minor: int
) -> None:
    """What ``kubectl convert`` is for: an object of one version is read in the other."""
    kubectl = Program(PROGRAMS / f"kubectl-1.{minor}", served, ("--namespace", namespace))
    api_version, _, spec = KINDS["Ingress"][0]
    old = {"apiVersion": api_version, "kind": "Ingress", "metadata": {"name": "web"}, "spec": spec}
    text = yaml.safe_dump(old)
    made = kubectl.run("apply", "--dry-run=server", "-f", "-", stdin=text)
    assert made.stdout == "ingress.extensions/web created (server dry run)\n"
    warning = (
        "extensions/v1beta1 Ingress is deprecated in v1.14+, unavailable in v1.22+; use networking.k8s.io/v1 Ingress"
    )
    assert f"Warning: {warning}" in made.stderr
    kubectl("apply", "-f", "-", stdin=text)
    new = kubectl.json("get", "ingress", "web")
    assert new["apiVersion"] == "networking.k8s.io/v1"
    assert new["spec"]["rules"][0]["http"]["paths"] == [PATH]
    back = kubectl.json("get", "ingresses.v1beta1.extensions", "web")
    assert back["spec"]["rules"][0]["http"]["paths"] == [OLD_PATH]
    told = kubectl("explain", "--api-version=extensions/v1beta1", "ingress.spec.backend")
    assert "servicePort" in told
