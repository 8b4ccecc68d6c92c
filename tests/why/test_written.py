"""What a fix shows of an object is what was chosen for it: the server makes the same object of it again."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.groups.core.pod_defaults import default_pod
from sampan.api.objects import deep_copy
from sampan.why.written import shorten

PROBE = {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}}
SPECS: tuple[Any, ...] = (
    {"containers": [{"name": "c", "image": "web:1"}]},
    {"containers": [{"name": "c", "image": "web"}], "restartPolicy": "Never", "dnsPolicy": "Default"},
    {"containers": [{"name": "c", "image": "web@sha256:1", "imagePullPolicy": "Always"}]},
    {"containers": [{"name": "c", "image": "r:5000/web", "ports": [{"containerPort": 80}], "livenessProbe": PROBE}],
     "initContainers": [{"name": "i", "image": "web:latest", "resources": {"requests": {"cpu": "1"}}}]},
    {"containers": [{"name": "c", "image": "web:1", "terminationMessagePolicy": "FallbackToLogsOnError"}],
     "securityContext": {"runAsUser": 1}, "terminationGracePeriodSeconds": 0, "enableServiceLinks": False},
)  # fmt: skip


def stored(spec: dict[str, Any]) -> dict[str, Any]:
    pod = {"metadata": {"name": "p"}, "spec": deep_copy(spec)}
    default_pod(pod)
    return pod


@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
def test_the_server_fills_in_again_what_is_left_out(spec: dict[str, Any]) -> None:
    whole = stored(spec)
    short = deep_copy(whole)
    shorten(short)
    again = deep_copy(short)
    default_pod(again)
    assert again["spec"] == whole["spec"]
    assert len(str(short)) < len(str(whole))


def test_what_admission_gave_a_pod_goes_and_what_was_chosen_stays() -> None:
    mine = {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    given = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in ("not-ready", "unreachable")
    ]
    pod = stored({"containers": [{"name": "c", "image": "web:1"}]})
    pod["spec"] |= {"tolerations": [mine, *given], "priority": 0, "preemptionPolicy": "PreemptLowerPriority",
                    "serviceAccountName": "default", "serviceAccount": "default"}  # fmt: skip
    shorten(pod)
    assert pod["spec"] == {"containers": [{"name": "c", "image": "web:1"}], "tolerations": [mine]}


def test_a_template_is_shortened_and_damage_is_left_alone() -> None:
    template = stored({"containers": [{"name": "c", "image": "web:1"}]})
    job = {"spec": {"template": {"metadata": {"creationTimestamp": None}, "spec": template["spec"]}}}
    shorten(job)
    assert job["spec"]["template"] == {"metadata": {}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}}
    for broken in ({}, {"spec": 3}, {"spec": {"containers": [7], "tolerations": 3}}, {"spec": {"template": 1}}):
        shorten(broken)
