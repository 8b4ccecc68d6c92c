"""Decoded pods of one template share the parts of their specs; what differs from pod to pod stays its own."""

import copy
from typing import Any

import orjson
import pytest

from sampan.api.pods import sharing
from sampan.api.pods.sharing import SharedParts

REQUESTS = {"cpu": "100m", "memory": "64Mi"}


def pod(number, **spec):
    token = {
        "name": f"kube-api-access-{number}",
        "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
    }
    mount = {"name": token["name"], "mountPath": "/var/run/secrets"}
    container = {"name": "c", "image": "app:1", "resources": {"requests": REQUESTS}, "volumeMounts": [mount]}
    bare = {"name": "bare", "image": "app:2", "env": [{"name": "A", "value": "1"}]}
    spec = {"containers": [container, bare], "volumes": [token], "tolerations": [{"operator": "Exists"}], **spec}
    return {"kind": "Pod", "metadata": {"name": f"p{number}"}, "spec": spec, "status": {}}


def shared(parts, number, **spec):
    return parts.pod(copy.deepcopy(pod(number, **spec)))


def test_pods_of_one_template_share_what_they_have_in_common_and_are_what_they_were():
    parts = SharedParts()
    one, other = shared(parts, 1, nodeName="a"), shared(parts, 2, nodeName="b")
    assert orjson.dumps(one) == orjson.dumps(pod(1, nodeName="a"))
    assert orjson.dumps(other) == orjson.dumps(pod(2, nodeName="b"))
    mine, its = one["spec"], other["spec"]
    assert mine["tolerations"] is its["tolerations"]
    assert mine["containers"][1] is its["containers"][1]
    assert mine["containers"][0]["resources"] is its["containers"][0]["resources"]
    assert mine["volumes"][0]["projected"] is its["volumes"][0]["projected"]
    assert mine["containers"][0]["volumeMounts"] is not its["containers"][0]["volumeMounts"]


def test_the_pod_that_is_given_stays_as_it_is():
    given = pod(1)
    before, containers = copy.deepcopy(given), given["spec"]["containers"]
    SharedParts().pod(given)
    assert given == before and given["spec"]["containers"] is containers


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([1], [1.0]), ([1], [True])],
    ids=["order", "kind", "truth"],
)
def test_what_is_written_otherwise_is_another_part(one, other):
    parts = SharedParts()
    assert parts.one(one) is one
    assert parts.one(other) is other


@pytest.mark.parametrize("odd", [{}, {"spec": None}, {"spec": {"containers": [None, 3], "volumes": ["x"]}}])
def test_damaged_pods_stay_as_they_are(odd):
    assert SharedParts().pod(odd) == odd


def test_what_json_does_not_hold_is_not_shared():
    unknown = {"n": 2**70}
    assert SharedParts().one(unknown) is unknown


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(sharing, "MOST_BYTES", 200)
    parts = SharedParts()
    for number in range(50):
        parts.one(["x" * 50, number])
        assert sum(map(len, parts._kept)) == parts._bytes <= 200
    long = ["x" * sharing.LONGEST_BYTES]
    assert parts.one(long) is long and len(parts._kept) < 5


def started(name: str, address: str) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    creator = {"manager": "controller", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsV1": {}}
    node = {**creator, "manager": "kubelet", "subresource": "status", "fieldsV1": {f"f:{address}": {}}}
    return {
        "metadata": {"name": name, "managedFields": [creator, node]},
        "spec": {},
        "status": {"podIP": address, "conditions": [ready]},
    }


def test_pods_that_start_in_the_same_second_share_what_is_said_of_it() -> None:
    parts = SharedParts()
    first, second = (parts.pod(copy.deepcopy(started(*each))) for each in (("a", "10.0.0.1"), ("b", "10.0.0.2")))
    assert (first, second) == (started("a", "10.0.0.1"), started("b", "10.0.0.2"))
    assert first["status"]["conditions"][0] is second["status"]["conditions"][0]
    assert first["metadata"]["managedFields"][0] is second["metadata"]["managedFields"][0]
    assert not parts._kept, "what holds for a second must push out no part of a template"
