"""Pods of one template are judged once, and as each of them would be by itself."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from sampan.api.groups.core import pod_known
from sampan.api.pods.qos import compute_qos_class
from sampan.api.registry import registry
from sampan.api.validation import pod as pod_validation
from sampan.api.validation.options import Options


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    pod_known.forget()
    yield
    pod_known.forget()


def pod(name: str = "p", annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n", **({"annotations": annotations} if annotations else {})}
    obj: dict[str, Any] = {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    kind = registry().by_resource("", "v1", "pods")
    assert kind is not None
    kind.default(obj)
    return obj


def judged(obj: dict[str, Any]) -> tuple[str, list[Any], list[str]]:
    """As the server does it: class of service, faults, warnings."""
    kind = registry().by_resource("", "v1", "pods")
    assert kind is not None
    made = copy.deepcopy(obj)
    list(kind.prepare_create(made) or ())
    return (
        made["status"]["qosClass"],
        [fault.message() for fault in kind.validate(made)],
        list(kind.warnings(made, None)),
    )


def with_token(volume: str, *more: dict[str, Any]) -> dict[str, Any]:
    mounted = [{"name": volume, "mountPath": "/token"}]
    return pod(
        containers=[{"name": "c", "image": "i", "volumeMounts": mounted}],
        volumes=[{"name": volume, "projected": {"sources": [{"downwardAPI": {}}]}}, *more],
    )


def test_what_is_known_of_a_template_is_what_each_of_its_pods_is_found_to_be() -> None:
    chance = random.Random(7)
    choices: list[tuple[str, list[Any]]] = [
        ("restartPolicy", ["Always", "Sometimes"]),
        ("hostNetwork", [True, False]),
        ("nodeName", ["node-1", "Node!"]),
        ("nodeSelector", [{"a": "b"}, {"a": "?"}, {"beta.kubernetes.io/os": "linux"}]),
        ("tolerations", [[{"operator": "Exists"}], [{"key": "k", "operator": "Never"}]]),
        ("terminationGracePeriodSeconds", [0, 30, -1]),
        ("volumes", [[{"name": "v", "emptyDir": {}}], [{"name": "v", "ephemeral": {}}], [{"name": "v", "rbd": None}]]),
        ("containers", [
            [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}],
            [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}],
            [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}],
        ]),
    ]  # fmt: skip
    notes = [None, {"a": "b"}, {"kubernetes.io/config.mirror": "m"}, {"seccomp.security.alpha.kubernetes.io/pod": "x"}]
    found_sound = found_faulty = 0
    for _ in range(100):
        spec = {key: chance.choice(values) for key, values in choices if chance.random() < 0.2}
        obj = pod(chance.choice(["p", "q.r"]), chance.choice(notes), **copy.deepcopy(spec))
        options = Options(is_pod=True, pod_name=obj["metadata"]["name"])
        faults = [fault.message() for fault in pod_validation.new_pod(obj, options)]
        first, second = judged(obj), judged(obj)
        assert first == second
        assert first[:2] == (compute_qos_class(obj), faults)
        found_sound += not faults
        found_faulty += bool(faults)
    assert found_sound > 10
    assert found_faulty > 10


def test_a_fault_is_told_every_time() -> None:
    assert judged(pod(restartPolicy="Never"))[1] == []
    for _ in range(3):
        assert len(judged(pod(restartPolicy="Sometimes"))[1]) == 1


def test_the_volume_of_the_accounts_token_may_have_any_name_of_its_own() -> None:
    assert judged(with_token("kube-api-access-abcde")) == judged(with_token("kube-api-access-fghij"))
    assert len(pod_known._known) == 1


def test_another_volume_of_the_tokens_name_is_seen() -> None:
    other = {"name": "kube-api-access-fghij", "emptyDir": {}}
    assert judged(with_token("kube-api-access-abcde", other))[1] == []
    faults = judged(with_token("kube-api-access-fghij", other))[1]
    assert [fault for fault in faults if "Duplicate value" in fault]


def test_a_name_that_stands_for_the_tokens_volume_is_refused_as_the_name_it_is() -> None:
    assert judged(with_token("kube-api-access-abcde"))[1] == []
    assert judged(with_token("kube-api-access-*****"))[1] != []
    twice = {"name": "kube-api-access-*****", "emptyDir": {}}
    assert judged(with_token("kube-api-access-abcde", twice))[1] != []


def test_claims_that_are_named_after_the_pod_are_looked_at_for_each() -> None:
    claim = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    volumes = [{"name": "v" * 40, "ephemeral": {"volumeClaimTemplate": claim}}]
    assert judged(pod("p", volumes=volumes))[1] == []
    assert judged(pod("p" * 230, volumes=volumes))[1] != []


def test_what_annotations_say_of_the_spec_is_looked_at() -> None:
    assert judged(pod())[1] == []
    assert judged(pod(annotations={"seccomp.security.alpha.kubernetes.io/pod": "nonsense"}))[1] != []
    assert judged(pod(annotations={"security.alpha.kubernetes.io/sysctls": "a=1"}))[2] != []


def test_a_pods_own_name_is_warned_of_whatever_is_known_of_its_spec() -> None:
    assert judged(pod("p"))[2] == []
    assert len(judged(pod("p.q"))[2]) == 1


def test_what_is_kept_is_bounded() -> None:
    for number in range(3 * pod_known.MOST):
        pod_known.of({"spec": {"nodeName": f"n{number}"}})
    assert len(pod_known._known) <= pod_known.MOST
    assert pod_known.of({"spec": {"nodeName": "n" * pod_known.LONGEST_BYTES}}) is None
    assert pod_known.of({"spec": {"nodeName": "\ud800"}}) is None
