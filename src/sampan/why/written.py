"""Objects as somebody would write them: without what the API server fills in by itself. Pure.

A fix that makes an object anew shows what was chosen for it, not forty lines of defaults. Only pods and what holds a
pod template are shortened; a field goes where it holds exactly what the server would put there again
(``tests/why/test_written.py`` sends the short form through the server's own defaults).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sampan.api.types import Obj

_POD: Final[Mapping[str, Any]] = {
    "dnsPolicy": "ClusterFirst",
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}
_CONTAINER: Final[Mapping[str, Any]] = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBE: Final[Mapping[str, Any]] = {
    "failureThreshold": 3,
    "periodSeconds": 10,
    "successThreshold": 1,
    "timeoutSeconds": 1,
}
_CONTAINERS: Final = ("containers", "initContainers")
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
#: what admission gives each pod that has none of its own (DefaultTolerationSeconds)
_TOLERATED: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_TOLERATED_SECONDS: Final = 300


def shorten(obj: Obj) -> None:
    """In place; what it does not know it leaves."""
    for spec, of_template in _pod_specs(obj):
        _drop(spec, _POD)
        if spec.get("serviceAccount") == spec.get("serviceAccountName"):
            spec.pop("serviceAccount", None)
        if not of_template:
            _drop_admitted(spec)
        for key in _CONTAINERS:
            for container in spec.get(key) or ():
                if isinstance(container, dict):
                    _shorten_container(container)


def _pod_specs(obj: Obj) -> Iterator[tuple[Obj, bool]]:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    if isinstance(spec.get("containers"), list):
        yield spec, False
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        if isinstance(template.get("metadata"), dict):
            template["metadata"].pop("creationTimestamp", None)
        yield template["spec"], True


def _drop_admitted(spec: Obj) -> None:
    """What admission put into a pod: it puts it there again."""
    if "priorityClassName" not in spec and spec.get("priority") == 0:
        spec.pop("priority")
    elif "priorityClassName" in spec:
        spec.pop("priority", None)  # computed from the class; one that says another number is refused
    if spec.get("serviceAccountName") == "default":
        spec.pop("serviceAccountName")
    tolerations = spec.get("tolerations")
    if isinstance(tolerations, list):
        spec["tolerations"] = [each for each in tolerations if not _is_admitted(each)]
        if not spec["tolerations"]:
            del spec["tolerations"]


def _is_admitted(toleration: Any) -> bool:
    return isinstance(toleration, dict) and toleration == {
        "key": toleration.get("key"),
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": _TOLERATED_SECONDS,
    } and toleration["key"] in _TOLERATED  # fmt: skip


def _shorten_container(container: Obj) -> None:
    _drop(container, _CONTAINER)
    if container.get("imagePullPolicy") == _usual_policy(container.get("image")):
        container.pop("imagePullPolicy", None)
    for port in container.get("ports") or ():
        if isinstance(port, dict):
            _drop(port, {"protocol": "TCP"})
    for key in _PROBES:
        probe = container.get(key)
        if isinstance(probe, dict):
            _drop(probe, _PROBE)
            if isinstance(probe.get("httpGet"), dict):
                _drop(probe["httpGet"], {"scheme": "HTTP", "path": "/"})


def _usual_policy(image: Any) -> str:
    """That of an image without a policy, by its tag."""
    if not isinstance(image, str) or "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _drop(holder: Obj, defaults: Mapping[str, Any]) -> None:
    for key, value in defaults.items():
        if key in holder and holder[key] == value and type(holder[key]) is type(value):
            del holder[key]
