"""Pods with a node whose containers do not start, end, or are not ready."""

from __future__ import annotations

from typing import Any

import pytest
from situations import Situation, pod, workload

from sampan.api.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, SECRETS
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.simulated import Behaviour

IMAGE = "docker.io/library/app:1"


def behave(situation: Situation, **how: Any) -> None:
    for each in situation.cluster.runtimes.values():
        each.default_behaviour = Behaviour(**how)


def registry(situation: Situation, *images: str) -> None:
    for each in situation.cluster.runtimes.values():
        each.registry = set(images)


def end_all(situation: Situation, code: int, reason: str = "") -> None:
    async def end() -> None:
        for each in situation.cluster.runtimes.values():
            for container in await each.list_containers():
                if container.state == "running":
                    each.exit_container(container.id, code, reason)

    situation.cluster.run(end())


def fail_probes(situation: Situation) -> None:
    for each in situation.cluster.runtimes.values():
        each.exec_handler = lambda container, command: runtime.ExecResult(b"", b"no", 1)


def probe(kind: str) -> Obj:
    return {f"{kind}Probe": {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 2}}


def config_map(name: str, data: dict[str, str]) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_an_image_that_the_registry_does_not_have(situation: Situation) -> None:
    registry(situation, "docker.io/library/app:latest")
    situation.make(workload())
    situation.wait(60)
    cause = situation.first("deployment/web", "image-name", "the registry has no image docker.io/library/app:1")
    situation.mended(cause, "deployment/web")


def test_a_new_image_that_is_not_there_has_a_way_back(situation: Situation) -> None:
    situation.make(workload())
    situation.wait()
    registry(situation, IMAGE)
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "docker.io/library/app:2"}]
    client = situation.cluster.client
    situation.cluster.run(client.patch(DEPLOYMENTS, "web", image, "default", patch_type="json"))
    situation.wait(60)
    cause = situation.first("deployment/web", "image-name", "no image docker.io/library/app:2")
    assert cause.fix is not None and "go back to revision 1" in cause.fix.text
    situation.mended(cause, "deployment/web")


def test_an_image_that_needs_credentials(situation: Situation) -> None:
    for each in situation.cluster.runtimes.values():
        each.private = {"registry.example.com/app:1": {"me": "word"}}
    situation.make(workload(container={"image": "registry.example.com/app:1"}))
    situation.wait(60)
    cause = situation.first("deployment/web", "image-credentials", "without the right credentials")
    assert cause.fix is not None and "kubectl create secret docker-registry pull -n default" in cause.fix.text
    auth = '{"auths": {"registry.example.com": {"username": "me", "password": "word"}}}'
    secret = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": auth},
    }  # fmt: skip
    situation.make(secret)
    situation.mended(cause, "deployment/web", seconds=600)


def test_a_pull_secret_that_does_not_exist(situation: Situation) -> None:
    for each in situation.cluster.runtimes.values():
        each.private = {"registry.example.com/app:1": {"me": "word"}}
    situation.make(pod(container={"image": "registry.example.com/app:1"}, imagePullSecrets=[{"name": "key"}]))
    situation.wait(60)
    cause = situation.first("pod/p", "image-credentials")
    assert "imagePullSecrets names key, which does not exist" in cause.evidence


def test_a_registry_that_is_not_reached(situation: Situation) -> None:
    said = (
        'failed to do request: Head "https://registry-1.docker.io/v2/": dial tcp: lookup '
        "registry-1.docker.io: no such host"
    )
    for each in situation.cluster.runtimes.values():
        each.failures["pull_image"] = [runtime.RuntimeCallError(said)] * 20
    situation.make(pod())
    situation.wait(60)
    situation.first("pod/p", "image-network", "does not reach the registry of docker.io/library/app:1")


def test_a_name_that_is_none_of_an_image(situation: Situation) -> None:
    situation.make(workload(container={"image": "Docker.io/My App:1"}))
    situation.wait()
    situation.mended(situation.first("deployment/web", "image-invalid-name"), "deployment/web")


def test_an_image_that_must_not_be_pulled(situation: Situation) -> None:
    situation.make(workload(container={"imagePullPolicy": "Never"}))
    situation.wait()
    situation.mended(
        situation.first("deployment/web", "image-never-pulled", "its pull policy is Never"), "deployment/web"
    )


def test_a_program_that_fails(situation: Situation) -> None:
    behave(situation, run_seconds=1, exit_code=1)
    situation.make(pod())
    situation.wait(60)
    cause = situation.first("pod/p", "crash", "container c ends with exit code 1: its program failed")
    assert cause.fix is not None and "kubectl logs p -n default -c c --previous" in cause.fix.text


def test_a_new_version_that_fails_has_a_way_back(situation: Situation) -> None:
    situation.make(workload())
    situation.wait()
    for each in situation.cluster.runtimes.values():
        each.behaviours["docker.io/library/app:2"] = Behaviour(run_seconds=1, exit_code=3)
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "docker.io/library/app:2"}]
    client = situation.cluster.client
    situation.cluster.run(client.patch(DEPLOYMENTS, "web", image, "default", patch_type="json"))
    situation.wait(60)
    cause = situation.first("deployment/web", "crash", "exit code 3")
    situation.mended(cause, "deployment/web")


def test_a_command_that_is_not_in_the_image(situation: Situation) -> None:
    behave(situation, run_seconds=0.1, exit_code=127)
    situation.make(pod())
    situation.wait(60)
    situation.first("pod/p", "crash", "exit code 127: its command was not found")


def test_a_container_that_used_too_much_memory(situation: Situation) -> None:
    situation.make(workload(container={"resources": {"limits": {"memory": "64Mi"}}}))
    situation.wait()
    for _ in range(3):
        end_all(situation, 137, "OOMKilled")
        situation.wait(12)
    end_all(situation, 137, "OOMKilled")
    situation.wait(2)
    cause = situation.first("deployment/web", "out-of-memory", "more than its memory limit of 64Mi")
    assert cause.fix is not None and "raise the limit, as to 128Mi" in cause.fix.text
    situation.mended(cause, "deployment/web")


def test_a_program_that_ends_by_itself_again_and_again(situation: Situation) -> None:
    behave(situation, run_seconds=1, exit_code=0)
    situation.make(pod())
    situation.wait(60)
    situation.first("pod/p", "completed-again", "ends by itself (exit code 0)")


def test_an_init_container_that_fails(situation: Situation) -> None:
    for each in situation.cluster.runtimes.values():
        each.behaviours["docker.io/library/init:1"] = Behaviour(run_seconds=1, exit_code=2)
    situation.make(pod(initContainers=[{"name": "prepare", "image": "docker.io/library/init:1"}]))
    situation.wait(60)
    situation.first("pod/p", "init-crash", "init container prepare ends with exit code 2")


@pytest.mark.parametrize("kind", ["liveness", "startup"])
def test_a_probe_that_kills(situation: Situation, kind: str) -> None:
    fail_probes(situation)
    situation.make(workload(container=probe(kind)))
    situation.wait(120)
    situation.mended(situation.first("deployment/web", "killed-by-probe", f"its {kind} probe fails"), "deployment/web")


def test_a_readiness_probe_that_fails(situation: Situation) -> None:
    fail_probes(situation)
    situation.make(workload(container=probe("readiness")))
    situation.wait(60)
    cause = situation.first("deployment/web", "not-ready-probe", "the readiness probe of container c does not succeed")
    situation.mended(cause, "deployment/web")


def test_a_readiness_gate_that_nobody_opens(situation: Situation) -> None:
    situation.make(workload(readinessGates=[{"conditionType": "example.com/checked"}]))
    situation.wait()
    situation.mended(
        situation.first("deployment/web", "readiness-gate", "example.com/checked is not set"), "deployment/web"
    )


def env(kind: str, name: str, key: str = "key") -> Obj:
    return {"env": [{"name": "A", "valueFrom": {f"{kind}KeyRef": {"name": name, "key": key}}}]}


def test_a_config_map_that_does_not_exist(situation: Situation) -> None:
    situation.make(config_map("settings", {}), pod(container=env("configMap", "setting")))
    situation.wait()
    cause = situation.first("pod/p", "configmap-missing", "the ConfigMap setting does not exist")
    assert "there are of like names: settings" in cause.evidence
    situation.mended(cause, "pod/p")
    assert situation.cluster.get(CONFIG_MAPS, "setting")["data"] == {"key": ""}


def test_a_secret_that_does_not_exist(situation: Situation) -> None:
    situation.make(pod(container=env("secret", "password")))
    situation.wait()
    situation.mended(situation.first("pod/p", "secret-missing", "the Secret password does not exist"), "pod/p")
    assert "key" in situation.cluster.get(SECRETS, "password")["data"]


def test_a_key_that_a_config_map_does_not_have(situation: Situation) -> None:
    situation.make(config_map("settings", {"colour": "blue"}), pod(container=env("configMap", "settings", "color")))
    situation.wait()
    cause = situation.first("pod/p", "key-missing", "the ConfigMap settings has no key color")
    assert "it has colour" in cause.evidence
    situation.mended(cause, "pod/p")


def test_an_image_of_root_where_root_is_forbidden(situation: Situation) -> None:
    situation.make(workload(securityContext={"runAsNonRoot": True}))
    situation.wait()
    situation.mended(situation.first("deployment/web", "root-image", "it must not run as root"), "deployment/web")


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_a_volume_of_something_that_does_not_exist(situation: Situation, kind: str) -> None:
    source = {"configMap": {"name": "files"}} if kind == "ConfigMap" else {"secret": {"secretName": "files"}}
    situation.make(workload(volumes=[{"name": "v", **source}]))
    situation.wait()
    cause = situation.first("deployment/web", "volume-source", f"the {kind} files does not exist")
    situation.mended(cause, "deployment/web", seconds=300)


def test_a_volume_of_a_key_that_does_not_exist(situation: Situation) -> None:
    volume = {"name": "v", "configMap": {"name": "files", "items": [{"key": "a.conf", "path": "a.conf"}]}}
    situation.make(config_map("files", {"b.conf": ""}), workload(volumes=[volume]))
    situation.wait()
    cause = situation.first("deployment/web", "volume-source", "the ConfigMap files has no key a.conf")
    situation.mended(cause, "deployment/web", seconds=300)


def test_a_pod_that_ran_too_long(situation: Situation) -> None:
    situation.make(pod(activeDeadlineSeconds=5))
    situation.wait(60)
    situation.mended(situation.first("pod/p", "deadline", "longer than its activeDeadlineSeconds (5 s)"), "pod/p")


def test_a_pod_that_made_room_for_a_more_important_one(situation: Situation) -> None:
    high = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000}
    big = {"resources": {"requests": {"cpu": "3"}}}
    low = [pod(f"low-{number}", container=big) for number in range(3)]
    for each in low:
        each["metadata"]["finalizers"] = ["example.com/kept"]
    situation.make(high, *low)
    situation.wait()
    situation.make(pod("urgent", container=big, priorityClassName="high"))
    situation.wait(10)
    [victim] = [
        each["metadata"]["name"]
        for each in situation.cluster.list(PODS, "default")
        if any(c["type"] == "DisruptionTarget" for c in each["status"].get("conditions", ()))
    ]
    situation.first(f"pod/{victim}", "preempted", "make room for a pod of higher priority")


def test_a_pod_that_its_node_evicted(situation: Situation) -> None:
    situation.make(pod())
    situation.wait()
    said = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi."
    status = {"status": {"phase": "Failed", "reason": "Evicted", "message": said}}
    client = situation.cluster.client
    situation.cluster.run(client.patch(PODS, "p", status, "default", subresource="status"))
    situation.wait(2)
    situation.mended(situation.first("pod/p", "evicted", "which ran short of memory"), "pod/p")
