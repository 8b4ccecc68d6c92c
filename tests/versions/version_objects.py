"""Random objects that make sense: what a conversion can be asked to carry. For the tests of this folder."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType
from typing import Any

from sampan.api import schema
from sampan.api.kind import Kind

Obj = dict[str, Any]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("objects_of", Path(__file__).parents[1] / "schema" / "objects_of.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_made = _load().made

_METRICS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def random_object(kind: Kind, rng: random.Random) -> Obj:
    """Of this kind, as the API would hold it."""
    obj: Obj = _made(kind.node, rng)
    obj |= {"kind": kind.kind, "apiVersion": kind.api_version}
    obj.setdefault("metadata", {}).pop("annotations", None)
    sensible = _SENSIBLE.get(kind.kind)
    if sensible is not None:
        sensible(obj, rng, kind)
    schema.normalise(kind.node, obj)
    return obj


def _ingress(ingress: Obj, rng: random.Random, kind: Kind) -> None:
    """A back end is a Service with one port, or a resource."""
    spec = ingress.setdefault("spec", {})
    default = "defaultBackend" if kind.version == "v1" else "backend"
    spec[default] = _backend(rng, kind)
    for rule in spec.get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            path["backend"] = _backend(rng, kind)


def _backend(rng: random.Random, kind: Kind) -> Obj:
    if rng.random() < 0.2:
        return {"resource": {"kind": "Bucket", "name": "b"}}
    port: Any = rng.choice((80, "http"))
    if kind.version != "v1":
        return {"serviceName": "web", "servicePort": port}
    return {"service": {"name": "web", "port": {"name": port} if isinstance(port, str) else {"number": port}}}


def _autoscaler(autoscaler: Obj, rng: random.Random, kind: Kind) -> None:
    """A metric is of one type, and has one target of it."""
    spec, status = autoscaler.setdefault("spec", {}), autoscaler.setdefault("status", {})
    spec["metrics"] = [_metric(rng, kind, "target") for _ in range(rng.randint(0, 3))]
    status["currentMetrics"] = [_metric(rng, kind, "current") for _ in range(rng.randint(0, 3))]


def _metric(rng: random.Random, kind: Kind, values: str) -> Obj:
    name = rng.choice(list(_METRICS))
    return {
        "type": name,
        _METRICS[name]: _source(name, rng, values) if kind.version == "v2" else _flat(name, rng, values),
    }


def _source(name: str, rng: random.Random, values: str) -> Obj:
    target = values == "target"
    resource = name in ("Resource", "ContainerResource")
    choices = {"averageValue": ("AverageValue", "5")}
    if resource:
        choices["averageUtilization"] = ("Utilization", 50)
    elif name != "Pods":
        choices["value"] = ("Value", "7")
    key = rng.choice(list(choices))
    amounts: Obj = {"type": choices[key][0]} if target else {}
    amounts[key] = choices[key][1]
    found: Obj = {values: amounts}
    if resource:
        found["name"] = "cpu"
        if name == "ContainerResource":
            found["container"] = "c"
    else:
        found["metric"] = {"name": "m", **({"selector": {"matchLabels": {"a": "b"}}} if rng.random() < 0.5 else {})}
    if name == "Object":
        found["describedObject"] = {"kind": "Ingress", "name": "i", "apiVersion": "networking.k8s.io/v1"}
    return found


def _flat(name: str, rng: random.Random, values: str) -> Obj:
    selector = {"selector": {"matchLabels": {"a": "b"}}} if rng.random() < 0.5 else {}
    now = values == "current"
    match name:
        case "Resource" | "ContainerResource":
            found: Obj = {"name": "cpu", **({"container": "c"} if name == "ContainerResource" else {})}
            if now:
                return {**found, "currentAverageValue": "5", "currentAverageUtilization": 3}
            return {**found, **rng.choice(({"targetAverageValue": "5"}, {"targetAverageUtilization": 50}))}
        case "Pods":
            return {"metricName": "m", f"{values}AverageValue": "5", **selector}
        case "Object":
            target = {"kind": "Ingress", "name": "i"}
            average = {"averageValue": "3", f"{values}Value": "0"}
            return {"metricName": "m", "target": target, **selector, **rng.choice((average, {f"{values}Value": "7"}))}
        case _:
            selector = {"metricSelector": selector["selector"]} if selector else {}
            average = {f"{values}AverageValue": "3", **({"currentValue": "0"} if now else {})}
            return {"metricName": "m", **selector, **rng.choice((average, {f"{values}Value": "7"}))}


def _binding(binding: Obj, rng: random.Random, kind: Kind) -> None:
    names = ("User", "u"), ("Group", "g"), ("ServiceAccount", "s")
    binding["subjects"] = []
    for subject, name in rng.sample(names, rng.randint(1, 3)):
        group = "" if subject == "ServiceAccount" else "rbac.authorization.k8s.io"
        key = (
            {"apiGroup": group}
            if kind.version != "v1alpha1"
            else {"apiVersion": f"{group}/v1alpha1" if group else "v1"}
        )
        binding["subjects"].append({"kind": subject, "name": name, **{k: v for k, v in key.items() if v}})
    binding["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}


def _claim(claim: Obj, rng: random.Random, kind: Kind) -> None:
    spec = claim.get("spec") or {}
    if kind.kind == "ResourceClaimTemplate":
        spec = spec.get("spec") or {}
    for request in (spec.get("devices") or {}).get("requests") or ():
        if kind.version == "v1beta1":
            if rng.random() < 0.5:
                for key in set(request) - {"name", "firstAvailable"}:
                    del request[key]
            else:
                request["deviceClassName"] = "gpu"
                request.pop("firstAvailable", None)
        elif request.get("exactly") is not None:
            request["exactly"]["deviceClassName"] = "gpu"


def _slice(slice_: Obj, rng: random.Random, kind: Kind) -> None:
    spec = slice_.get("spec") or {}
    for key in ("nodeName", "allNodes"):
        if not spec.get(key):  # empty and false are refused
            spec.pop(key, None)
    for device in (slice_.get("spec") or {}).get("devices") or ():
        if kind.version == "v1beta1":
            device.setdefault("basic", {})


def _level(level: Obj, rng: random.Random, kind: Kind) -> None:
    """What a write of the version comes to: zero shares are said with the annotation."""
    limited = (level.get("spec") or {}).get("limited")
    if limited is not None and kind.version != "v1":
        key = "nominalConcurrencyShares" if kind.version == "v1beta3" else "assuredConcurrencyShares"
        limited[key] = rng.choice((0, 5))
        if not limited[key]:
            level["metadata"]["annotations"] = {"flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares": ""}
    elif limited is not None:
        limited["nominalConcurrencyShares"] = rng.choice((0, 5))


def _candidate(candidate: Obj, rng: random.Random, kind: Kind) -> None:
    spec = candidate.get("spec") or {}
    if kind.version == "v1alpha1":
        spec["preferredStrategies"] = rng.choice((["A"], ["A", "B"]))
    elif "strategy" in spec:
        spec["strategy"] = "A"


def _daemon_set(daemon_set: Obj, rng: random.Random, kind: Kind) -> None:
    if rng.random() < 0.5 and kind.version == "v1":
        daemon_set["metadata"]["annotations"] = {"deprecated.daemonset.template.generation": "7"}


def _deployment(deployment: Obj, rng: random.Random, kind: Kind) -> None:
    if rng.random() < 0.5 and kind.version == "v1":
        deployment["metadata"]["annotations"] = {"deprecated.deployment.rollback.revision": rng.choice(("0", "7"))}


def _endpoint_slice(slice_: Obj, rng: random.Random, kind: Kind) -> None:
    zone = "topology.kubernetes.io/zone"
    for endpoint in slice_.get("endpoints") or ():
        if kind.version == "v1beta1":
            endpoint["topology"] = rng.choice(({zone: "z"}, {"a": "b"}, {zone: "z", "a": "b"}))


def _definition(definition: Obj, rng: random.Random, kind: Kind) -> None:
    """Versions with a schema of their own or one for all, as the version's defaults leave them."""
    schemas: list[Obj] = [
        {"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "object"}, "b": {"type": "string"}}}},
        {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    ]
    columns = [{"name": "A", "type": "string", "jsonPath": ".spec.a"}]
    path = "jsonPath" if kind.version == "v1" else "JSONPath"
    columns = [{(path if key == "jsonPath" else key): value for key, value in each.items()} for each in columns]
    names = {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"}
    spec: Obj = {"group": "a.b", "scope": "Namespaced", "names": names}
    versions: list[Obj] = [{"name": name, "served": True, "storage": name == "v1"} for name in ("v1", "v2")]
    spec["versions"] = versions = versions[: rng.randint(1, 2)]
    hook = {"url": "https://a"}
    if kind.version == "v1":
        for version in versions:
            version["schema"] = rng.choice(schemas)
            if rng.random() < 0.5:
                version["additionalPrinterColumns"] = columns
            if rng.random() < 0.5:
                version["subresources"] = {"status": {}}
        spec["conversion"] = rng.choice(
            ({"strategy": "None"},
             {"strategy": "Webhook", "webhook": {"clientConfig": hook, "conversionReviewVersions": ["v1"]}})
        )  # fmt: skip
    else:
        spec["version"] = versions[0]["name"]
        spec["preserveUnknownFields"] = rng.random() < 0.5
        together = rng.random() < 0.5 or len(versions) == 1
        holders = [spec] if together else versions[:1]  # nothing that all have alike
        for holder in holders:
            if rng.random() < 0.7:
                holder["validation" if together else "schema"] = rng.choice(schemas)
            if rng.random() < 0.5:
                holder["additionalPrinterColumns"] = columns
            if rng.random() < 0.5:
                holder["subresources"] = {"status": {}}
        spec["conversion"] = rng.choice(
            ({"strategy": "None"},
             {"strategy": "Webhook", "webhookClientConfig": hook, "conversionReviewVersions": ["v1beta1"]})
        )  # fmt: skip
    definition["spec"] = spec
    definition.pop("status", None)


_SENSIBLE = {
    "Ingress": _ingress,
    "HorizontalPodAutoscaler": _autoscaler,
    "ClusterRoleBinding": _binding,
    "RoleBinding": _binding,
    "ResourceClaim": _claim,
    "ResourceClaimTemplate": _claim,
    "ResourceSlice": _slice,
    "PriorityLevelConfiguration": _level,
    "LeaseCandidate": _candidate,
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "EndpointSlice": _endpoint_slice,
    "CustomResourceDefinition": _definition,
}
