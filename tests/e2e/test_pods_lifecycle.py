"""Pods from start to end on real containers: order, back-off, reasons of what cannot run, long streams."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from e2e_harness import WEBSOCKETS, Kubectl, eventually
from e2e_manifests import IMAGE


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script], **more,
    }  # fmt: skip


def apply(kubectl: Kubectl, **pods: dict[str, Any]) -> None:
    """Pods by name; each is a spec, whose containers default to one that sleeps."""
    items = [
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container("main", "sleep 3600")], **spec},
        }
        for name, spec in pods.items()
    ]  # fmt: skip
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def waiting(kubectl: Kubectl, name: str) -> dict[str, str]:
    state = kubectl.json("get", "pod", name)["status"].get("containerStatuses", [{}])[0].get("state", {})
    found: dict[str, str] = state.get("waiting", {})
    return found


def test_init_containers_and_sidecars_start_in_order_and_sidecars_end_last(kubectl: Kubectl, tmp_path: Path) -> None:
    mounts = [{"name": "d", "mountPath": "/d"}]
    proxy = "trap 'echo proxy-ends >>/d/log; exit 0' TERM; echo proxy >>/d/log; touch /ok; while :; do sleep 0.1; done"
    apply(
        kubectl,
        p={
            "volumes": [{"name": "d", "hostPath": {"path": str(tmp_path), "type": "Directory"}}],
            "initContainers": [
                container("first", "echo first >>/d/log", volumeMounts=mounts),
                container(
                    "proxy", proxy, volumeMounts=mounts, restartPolicy="Always",
                    startupProbe={"exec": {"command": ["cat", "/ok"]}, "periodSeconds": 1},
                ),
                container("second", "echo second >>/d/log", volumeMounts=mounts),
            ],
            # It ignores the signal and uses up all of the grace period.
            "containers": [container("main", "echo main >>/d/log; sleep 3600", volumeMounts=mounts)],
        },
    )  # fmt: skip
    kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=90s")
    kubectl("delete", "pod", "p")
    assert (tmp_path / "log").read_text().split() == ["first", "proxy", "second", "main", "proxy-ends"]


def test_what_cannot_run_says_why_and_heals_when_it_can(kubectl: Kubectl) -> None:
    reference = {"configMapKeyRef": {"name": "late", "key": "a"}}
    apply(
        kubectl,
        late={"containers": [container("main", "sleep 3600", env=[{"name": "A", "valueFrom": reference}])]},
        never={"containers": [{"name": "main", "image": "docker.io/none/such:1", "imagePullPolicy": "Never"}]},
        pull={"containers": [{"name": "main", "image": "127.0.0.1:9/none:1"}]},
        command={"containers": [{"name": "main", "image": IMAGE, "command": ["/nope"]}], "restartPolicy": "Never"},
        root={"securityContext": {"runAsNonRoot": True}},
        alive={
            "containers": [
                container(
                    "main", "trap 'exit 0' TERM; while :; do sleep 0.1; done",
                    livenessProbe={"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1},
                )
            ]
        },
    )  # fmt: skip
    expected = {
        "late": ("CreateContainerConfigError", 'configmap "late" not found'),
        "never": ("ErrImageNeverPull", 'Container image "docker.io/none/such:1" is not present with pull policy'),
        "pull": (
            "ImagePullBackOff",
            'Back-off pulling image "127.0.0.1:9/none:1": ErrImagePull: failed to pull',
        ),
        "root": ("CreateContainerConfigError", "container has runAsNonRoot and image will run as root (pod: "),
        "alive": ("CrashLoopBackOff", "back-off "),  # of 10 s, or more by now
    }
    for name, (reason, text) in expected.items():
        found = eventually(lambda name=name, reason=reason: (w := waiting(kubectl, name)).get("reason") == reason and w)
        assert found["message"].startswith(text)

    def told() -> set[tuple[str, str]]:
        events = kubectl.json("get", "events")["items"]
        return {(event["involvedObject"]["name"], event["message"]) for event in events}

    eventually(lambda: ("never", "Error: ErrImageNeverPull") in told())
    eventually(lambda: any(n == "command" and text.startswith("Error: failed to create") for n, text in told()))
    kubectl("create", "configmap", "late", "--from-literal=a=1")
    kubectl("wait", "pod/late", "--for=condition=Ready", "--timeout=90s")


def test_exec_carries_megabytes_both_ways_and_copies_come_back_whole(kubectl: Kubectl, tmp_path: Path) -> None:
    apply(kubectl, p={})
    kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=90s")
    body = os.urandom(8_000_000)
    command = [kubectl.program, "-n", kubectl.namespace, "exec", "-i", "p", "--", "cat"]
    for websockets in ("true", "false"):  # cat says nothing before the stream that it reads is there
        env = {**kubectl.cluster.env, WEBSOCKETS: websockets}
        done = subprocess.run(command, input=body, capture_output=True, env=env, check=True, timeout=120)
        assert done.stdout == body
    (tmp_path / "out/deep").mkdir(parents=True)
    (tmp_path / "out/deep/file").write_bytes(body[:1_000_000])
    kubectl("cp", f"{tmp_path}/out", "p:/copied")
    kubectl("cp", "p:/copied", f"{tmp_path}/back")
    assert (tmp_path / "back/deep/file").read_bytes() == body[:1_000_000]
