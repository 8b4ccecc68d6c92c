"""Changes as commands that people run, and as requests that programs make. Pure but for ``apply``."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

from sampan.api.objects import deep_copy
from sampan.api.reading import part
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.why.model import Action
from sampan.why.written import shorten

#: what the server fills in, and nobody sends
_OF_THE_SERVER: Final = (
    "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink", "deletionTimestamp",
    "deletionGracePeriodSeconds", "ownerReferences",
)  # fmt: skip
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def command(action: Action) -> str:
    """One line for a shell (a manifest follows where there is one)."""
    ref = action.ref
    # Names may come from messages, which tenants can write.
    name = shlex.quote(ref.name)
    what = f"{shlex.quote(_plural(ref.resource))} {name}"
    where = f" -n {shlex.quote(ref.namespace)}" if ref.namespace else ""
    sub = f" --subresource={action.subresource}" if action.subresource else ""
    if action.verb == "patch" and (short := _short(action, what, where)):
        return short
    match action.verb:
        case "patch" | "json":
            kind = " --type=merge" if action.verb == "patch" else " --type=json"
            return f"kubectl patch {what}{where}{sub}{kind} -p {shlex.quote(_json(action.body))}"
        case "delete":
            return f"kubectl delete {what}{where}"
        case "approve":
            return f"kubectl certificate approve {name}"
        case "create":
            return f"kubectl create -f - <<'EOF'\n{_yaml(action.body)}EOF"
        case "replace":
            return f"kubectl replace --force -f - <<'EOF'\n{_yaml(action.body)}EOF"


def _short(action: Action, what: str, where: str) -> str:
    """The command that people know, where there is one."""
    match action.body:
        case {"spec": {"replicas": int(count)}} if len(action.body) == 1 and len(action.body["spec"]) == 1:
            return f"kubectl scale {what}{where} --replicas={count}"
        case {"spec": {"unschedulable": None | False}} if len(action.body["spec"]) == 1:
            return f"kubectl uncordon {shlex.quote(action.ref.name)}"
        case {"metadata": {"labels": dict(labels)}} if len(action.body) == 1 and len(action.body["metadata"]) == 1:
            return f"kubectl label {what}{where} --overwrite {_pairs(labels)}"
        case {"spec": {"paused": None | False}} if len(action.body["spec"]) == 1:
            return f"kubectl rollout resume {what}{where}"
    return ""


def _pairs(labels: dict[str, Any]) -> str:
    return " ".join(shlex.quote(f"{name}-" if value is None else f"{name}={value}") for name, value in labels.items())


def _plural(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _json(body: Any) -> str:
    return json.dumps(body)


def _yaml(body: Any) -> str:
    import yaml  # late: most answers have no manifest

    return str(yaml.safe_dump(json.loads(json.dumps(body)), sort_keys=False))


def manifest(resource: Resource, obj: Obj) -> Obj:
    """The object as somebody would write it, to be made anew."""
    meta = {name: value for name, value in part(obj, "metadata").items() if name not in _OF_THE_SERVER}
    rest = {name: value for name, value in obj.items() if name not in ("metadata", "status", "apiVersion", "kind")}
    whole = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **rest}
    found: Obj = deep_copy(whole)
    # What was applied before is no longer so, and `kubectl apply` writes it anew.
    annotations = found["metadata"].get("annotations")
    if annotations and annotations.pop(_LAST_APPLIED, None) is not None and not annotations:
        del found["metadata"]["annotations"]
    shorten(found)
    return found


def pod_manifest(resource: Resource, pod: Obj) -> Obj:
    """Of a pod, without what was decided for it: its node, and the volume of its token."""
    made = manifest(resource, pod)
    spec = made["spec"]
    spec.pop("nodeName", None)
    for listed in (spec, *(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        for key in ("volumes", "volumeMounts"):
            if isinstance(listed.get(key), list):
                listed[key] = [
                    each for each in listed[key] if not str(each.get("name", "")).startswith("kube-api-access-")
                ]
    return made


__all__ = ["command", "manifest", "pod_manifest"]
