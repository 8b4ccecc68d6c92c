"""Faults of a pod template that was stored with them: an update may leave those of them that upstream lets be."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.api import strategies
from sampan.api.kind import Kind
from sampan.api.registry import registry

Obj = dict[str, Any]
_HUGE = {"cpu": "1", "hugepages-2Mi": "1Mi"}
_CONTAINER = {"name": "c", "image": "i"}
TOLERATED: dict[str, Obj] = {
    "indivisible huge pages": {"containers": [{**_CONTAINER, "resources": {"limits": _HUGE, "requests": _HUGE}}]},
    "sysctls of the host": {
        "hostNetwork": True,
        "securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]},
    },
    "tolerations that compare": {"tolerations": [{"key": "a", "operator": "Gt", "value": "5"}]},
    "tokens above their volume": {
        "volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "../t"}}]}}]
    },
}
KINDS = [
    "PodTemplate",
    "ReplicationController",
    "Deployment",
    "ReplicaSet",
    "DaemonSet",
    "StatefulSet",
    "Job",
    "CronJob",
]


def _kind(name: str) -> Kind:
    return next(k for k in registry().kinds() if k.kind == name and k.stored_as is None and not k.former)


def _made(kind: Kind, spec: Obj) -> Obj:
    labels = {"a": "b"}
    template: Obj = {"metadata": {"labels": labels}, "spec": {"containers": [dict(_CONTAINER)], **spec}}
    if kind.kind in ("Job", "CronJob"):
        template["spec"]["restartPolicy"] = "Never"
    selector: Obj = labels if kind.kind == "ReplicationController" else {"matchLabels": labels}
    obj: Obj = {"metadata": {"name": "x", "namespace": "n", "uid": "u", "resourceVersion": "1"}}
    match kind.kind:
        case "PodTemplate":
            obj["template"] = template
        case "CronJob":
            obj["spec"] = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}
        case "Job":
            obj["spec"] = {"template": template}
        case _:
            obj["spec"] = {"selector": selector, "template": template}
    kind.default(obj)
    kind.prepare_create(obj)
    return obj


def _updated(kind: Kind, new: Obj, old: Obj) -> list[Any]:
    merged = strategies.MAIN.merge(kind, copy.deepcopy(new), old)
    return strategies.MAIN.validate(kind, merged, old)


@pytest.mark.parametrize("spec", TOLERATED.values(), ids=TOLERATED)
@pytest.mark.parametrize("name", KINDS)
def test_a_fault_that_the_template_had_may_stay_and_not_come(name: str, spec: Obj) -> None:
    kind = _kind(name)
    old, sound = _made(kind, spec), _made(kind, {})
    assert kind.validate(old) != []
    assert kind.validate(sound) == []
    new = copy.deepcopy(old)
    new["metadata"]["labels"] = {"other": "label"}
    assert _updated(kind, new, old) == []
    assert _updated(kind, old, sound) != []


@pytest.mark.parametrize("name", [name for name in KINDS if name != "StatefulSet"])  # all of its old ones may stay
def test_a_fault_without_excuse_is_one_after_every_update(name: str) -> None:
    kind = _kind(name)
    old = _made(kind, {"dnsPolicy": "x"})
    assert any(fault.field.endswith("spec.dnsPolicy") for fault in _updated(kind, old, old))
