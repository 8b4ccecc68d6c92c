# ruff: noqa: E501 -- the objects below are data, easier to compare in few lines
"""Mutated objects of common kinds through the whole pipeline, with the default admission plugins and RBAC on: never a
500, always an object or a Status. ``test_admitted_fuzz.py`` makes objects of every kind that are valid in structure.

Seeded: the same run every time. A failure names the request, which then belongs into the corpus of bad input.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import orjson
import pytest

META = {
    "name": "x", "namespace": "default", "labels": {"a": "b"}, "annotations": {"a": "b"}, "finalizers": ["a.b/c"],
    "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "u", "controller": True}],
}  # fmt: skip
PROBE = {"httpGet": {"path": "/", "port": 80, "httpHeaders": [{"name": "a", "value": "b"}]}, "periodSeconds": 1}
CONTAINER = {
    "name": "c", "image": "i", "command": ["a"], "args": ["b"], "ports": [{"containerPort": 80, "protocol": "TCP"}],
    "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "B", "value": "c"}],
    "envFrom": [{"configMapRef": {"name": "cm"}}], "livenessProbe": PROBE, "readinessProbe": {"exec": {"command": ["a"]}},
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}},
    "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a"}], "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    "securityContext": {"runAsUser": 1, "capabilities": {"add": ["X"]}, "seccompProfile": {"type": "RuntimeDefault"}},
}  # fmt: skip
TERM = {"key": "a", "operator": "In", "values": ["b"]}
POD = {
    "containers": [CONTAINER], "initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always"}],
    "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "w", "configMap": {"name": "a", "items": []}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "s"}}]}}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [TERM]}]}},
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "a", "labelSelector": {"matchExpressions": [TERM]}}]}},
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}],
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}],
    "securityContext": {"fsGroup": 1, "sysctls": [{"name": "a", "value": "b"}]}, "dnsConfig": {"nameservers": ["1.1.1.1"]},
    "hostAliases": [{"ip": "1.1.1.1", "hostnames": ["a"]}], "restartPolicy": "Always", "readinessGates": [],
    "schedulingGates": [{"name": "g"}], "overhead": {"cpu": "1"}, "os": {"name": "linux"}, "nodeSelector": {"a": "b"},
}  # fmt: skip
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
SELECTOR = {"matchLabels": {"a": "b"}, "matchExpressions": [TERM]}
NS = "namespaces/default"
OBJECTS: dict[str, dict[str, Any]] = {
    f"/api/v1/{NS}/configmaps": {"data": {"a": "b"}, "binaryData": {"c": "ZA=="}, "immutable": False},
    f"/api/v1/{NS}/secrets": {"data": {"a": "ZA=="}, "stringData": {"b": "c"}, "type": "kubernetes.io/tls"},
    f"/api/v1/{NS}/pods": {"spec": POD, "status": {"phase": "Running"}},
    f"/api/v1/{NS}/services": {"spec": {
        "type": "NodePort", "selector": {"a": "b"}, "ports": [{"name": "p", "port": 80, "targetPort": "x", "nodePort": 30000}],
        "clusterIP": "10.96.3.3", "clusterIPs": ["10.96.3.3"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}, "externalIPs": ["1.2.3.4"]}},
    f"/api/v1/{NS}/endpoints": {"subsets": [{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 80}]}]},
    f"/api/v1/{NS}/limitranges": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "1"}}]}},
    f"/api/v1/{NS}/resourcequotas": {"spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}},
    f"/api/v1/{NS}/persistentvolumeclaims": {"spec": {"accessModes": ["ReadWriteOnce"],
                                                      "resources": {"requests": {"storage": "1Gi"}}}},
    "/api/v1/persistentvolumes": {"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                                           "hostPath": {"path": "/a"}, "claimRef": {"name": "a", "namespace": "b"}}},
    "/api/v1/nodes": {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24"},
                      "status": {"capacity": {"cpu": "1"}, "addresses": [{"type": "InternalIP", "address": "1.1.1.1"}],
                                 "conditions": [{"type": "Ready", "status": "True"}]}},
    f"/api/v1/{NS}/events": {"involvedObject": {"kind": "Pod", "name": "x", "namespace": "default"}, "count": 1},
    f"/apis/apps/v1/{NS}/deployments": {"spec": {"replicas": 1, "selector": SELECTOR, "template": TEMPLATE,
                                                 "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}}},
    f"/apis/apps/v1/{NS}/statefulsets": {"spec": {"serviceName": "s", "selector": SELECTOR, "template": TEMPLATE,
                                                  "volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": {}}],
                                                  "ordinals": {"start": 1}}},
    f"/apis/apps/v1/{NS}/daemonsets": {"spec": {"selector": SELECTOR, "template": TEMPLATE,
                                                "updateStrategy": {"rollingUpdate": {"maxUnavailable": 1}}}},
    f"/apis/batch/v1/{NS}/jobs": {"spec": {"template": TEMPLATE, "completions": 1, "parallelism": 1, "podFailurePolicy": {
        "rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}]}, "successPolicy": {"rules": []}}},
    f"/apis/batch/v1/{NS}/cronjobs": {"spec": {"schedule": "* * * * *", "timeZone": "UTC",
                                               "jobTemplate": {"spec": {"template": TEMPLATE}}}},
    f"/apis/networking.k8s.io/v1/{NS}/ingresses": {"spec": {"rules": [{"host": "a.b", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}],
        "tls": [{"hosts": ["a"], "secretName": "b"}], "defaultBackend": {"service": {"name": "s", "port": {"name": "p"}}}}},
    f"/apis/networking.k8s.io/v1/{NS}/networkpolicies": {"spec": {"podSelector": SELECTOR, "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 1}]}]}},
    f"/apis/policy/v1/{NS}/poddisruptionbudgets": {"spec": {"selector": SELECTOR, "minAvailable": "50%"}},
    f"/apis/autoscaling/v2/{NS}/horizontalpodautoscalers": {"spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 3, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 1}}}],
        "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}]}}}},
    f"/apis/autoscaling/v1/{NS}/horizontalpodautoscalers": {"spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3, "targetCPUUtilizationPercentage": 1}},
    f"/apis/rbac.authorization.k8s.io/v1/{NS}/roles": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    f"/apis/rbac.authorization.k8s.io/v1/{NS}/rolebindings": {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": "n"}]},
    "/apis/rbac.authorization.k8s.io/v1/clusterroles": {"aggregationRule": {"clusterRoleSelectors": [SELECTOR]}},
    f"/apis/discovery.k8s.io/v1/{NS}/endpointslices": {"addressType": "IPv4", "ports": [{"port": 1, "name": "a"}],
                                                       "endpoints": [{"addresses": ["1.1.1.1"], "conditions": {}}]},
    f"/apis/coordination.k8s.io/v1/{NS}/leases": {"spec": {"holderIdentity": "a", "renewTime": "2026-01-01T00:00:00.000000Z"}},
    "/apis/storage.k8s.io/v1/storageclasses": {"provisioner": "a", "parameters": {"a": "b"}, "allowedTopologies": [
        {"matchLabelExpressions": [{"key": "a", "values": ["b"]}]}]},
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": {"spec": {
        "group": "a.b", "scope": "Namespaced", "names": {"kind": "X", "plural": "x", "singular": "x"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object"}}}}}]}},
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations": {"webhooks": [{
        "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://x"},
        "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]}]},
    "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas": {"spec": {
        "priorityLevelConfiguration": {"name": "a"}, "rules": [{"subjects": [{"kind": "User", "user": {"name": "x"}}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/a"]}]}]}},
    "/apis/certificates.k8s.io/v1/certificatesigningrequests": {"spec": {
        "request": "YQ==", "signerName": "a.b/c", "usages": ["client auth"]}},
    "/apis/scheduling.k8s.io/v1/priorityclasses": {"value": 1, "preemptionPolicy": "Never"},
    f"/apis/authorization.k8s.io/v1/{NS}/localsubjectaccessreviews": {"spec": {
        "user": "u", "groups": ["g"], "resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}}},
    "/apis/authentication.k8s.io/v1/tokenreviews": {"spec": {"token": "t", "audiences": ["a"]}},
    f"/api/v1/{NS}/serviceaccounts/s/token": {"spec": {"audiences": ["a"], "expirationSeconds": 3600, "boundObjectRef": {
        "kind": "Pod", "apiVersion": "v1", "name": "p"}}},
    f"/api/v1/{NS}/pods/p0/eviction": {"deleteOptions": {"gracePeriodSeconds": 1, "preconditions": {"uid": "x"}}},
    f"/api/v1/{NS}/pods/p0/binding": {"target": {"kind": "Node", "name": "n"}},
}  # fmt: skip
ODD: list[Any] = [
    None, "", "x", "a b", "\u0000", "é" * 70, "10.0.0.0/8", "::1", "-1", "1e999", "9" * 40, "../..", "25%", "9999%", "{}",
    0, -1, 1, 65536, 1 << 31, 1 << 63, 1 << 64, 1.5, -0.0, True, False, [], [None], [[]], ["x", "x"], {}, {"": ""},
    {"a": None}, {"x": {"y": {}}}, "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z",
]  # fmt: skip
SEED, ROUNDS = 20261121, 15


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside a value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, part in parts:
        found += [(*at, key), *places(part, (*at, key))]
    return found


def mutated(obj: Any, rng: random.Random) -> Any:
    """``obj`` with one to three things replaced, removed, repeated or added."""
    result = copy.deepcopy(obj)
    for _ in range(rng.choice((1, 1, 2, 3))):
        *path, last = rng.choice(places(result))
        holder = result
        for key in path:
            holder = holder[key]
        action = rng.random()
        if action < 0.7:
            holder[last] = copy.deepcopy(rng.choice(ODD))
        elif action < 0.8:
            del holder[last]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        else:
            holder[rng.choice(("", "x", "a b", "status", "é"))] = copy.deepcopy(rng.choice(ODD))
        if not places(result):
            return result
    return result


def check(request: str, body: Any, answer: Any) -> list[str]:
    if answer.status < 400:
        return []
    status = answer.obj
    fine = (
        answer.status < 500
        and isinstance(status, dict)
        and (status.get("kind"), status.get("status"), status.get("code")) == ("Status", "Failure", answer.status)
        and status.get("reason")
        and status.get("message")
    )
    return [] if fine else [f"{request} {orjson.dumps(body).decode()}: {answer.status} {status}"]


def encode(body: Any) -> bytes:
    """JSON of anything: orjson refuses integers beyond 64 bits, which are to be sent."""
    return json.dumps(body).encode()


@pytest.mark.parametrize("url", OBJECTS)
async def test_nothing_a_client_sends_is_a_fault_of_the_server(guarded_api: Any, url: str) -> None:
    rng, api = random.Random(f"{SEED} {url}"), guarded_api
    await api("POST", f"/api/v1/{NS}/serviceaccounts", {"metadata": {"name": "s"}})
    pod = {"metadata": {"name": "p0"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await api("POST", f"/api/v1/{NS}/pods", pod)
    parts = OBJECTS[url]
    base = {"metadata": {"name": "p0"} if url.endswith(("eviction", "binding")) else dict(META), **parts}
    wrong: list[str] = []
    await api("POST", url, encode({**base, "metadata": {"name": "x"}}))
    for _ in range(ROUNDS):
        body = mutated(base, rng)
        wrong += check(f"POST {url}", body, await api("POST", f"{url}?dryRun=All", encode(body)))
        if url.count("/") > 7 or "review" in url:
            continue
        body["metadata"] = {"name": "x"} if rng.random() < 0.7 else body.get("metadata")
        wrong += check(f"PUT {url}", body, await api("PUT", f"{url}/x", encode(body)))
        patch = mutated(parts, rng)
        for kind in ("merge-patch+json", "strategic-merge-patch+json"):
            content_type = f"application/{kind}"
            answer = await api("PATCH", f"{url}/x", encode(patch), content_type=content_type)
            wrong += check(f"PATCH {kind} {url}", patch, answer)
    if "review" not in url:
        collection = url.split("/p0/")[0].split("/s/")[0]
        answer = await api("GET", collection, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
        wrong += check(f"GET {collection} as a table", None, answer)
    assert not wrong, f"{len(wrong)} of them\n" + "\n".join(wrong[:20])
