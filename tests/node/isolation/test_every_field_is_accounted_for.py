"""Every field that a pod may have is read by somebody, refused by name, or told here to be without meaning.

A field that the schema gets with a new version of Kubernetes fails this test until somebody has thought about it: one
that is accepted and then ignored may be isolation that a pod asked for and does not get.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import orjson
import pytest

import sampan
from sampan.api.schema import catalog

SOURCE = Path(sampan.__file__).parent
SCHEMA = orjson.loads((Path(catalog.__file__).parent / "data/kubernetes-1.37.json").read_bytes())
CORE = "io.k8s.api.core.v1."

#: Where the field's name must stand as a literal: a package or module below ``sampan``.
PODS, VOLUMES, ENV, PROBES = "node/pods", "node/volumes", "node/env", "node/probes"
SCHEDULER, API, ADMISSION = "scheduler", "api", "server/admission"


class Said(str):
    """Why nobody reads the field."""


NOT_LINUX = Said("of Windows: without meaning on Linux, as upstream; a pod for Windows is refused")
PLANNED_ELSEWHERE = Said("concerns what happens to the pod before it has a node: scheduling in groups, not built")
WIRE = Said("how a probe connects: HTTP/1.1 and plaintext gRPC are what is spoken here (docs/known-flaws.md)")
NO_RESIZE = Said("how to resize a running container; at its start it means nothing")

CONTAINER = {
    "args": ENV,
    "command": ENV,
    "env": ENV,
    "envFrom": ENV,
    "image": PODS,
    "imagePullPolicy": "node/images",
    "lifecycle": PODS,
    "livenessProbe": "node",
    "name": PODS,
    "ports": PODS,
    "readinessProbe": "node",
    "resizePolicy": NO_RESIZE,
    "resources": PODS,
    "restartPolicy": PODS,
    "restartPolicyRules": PODS,
    "securityContext": PODS,
    "startupProbe": "node",
    "stdin": PODS,
    "stdinOnce": PODS,
    "terminationMessagePath": PODS,
    "terminationMessagePolicy": PODS,
    "tty": PODS,
    "volumeDevices": VOLUMES,
    "volumeMounts": VOLUMES,
    "workingDir": PODS,
}
KEY = {"key": ENV, "name": ENV, "optional": ENV}
PROFILE = {"localhostProfile": PODS, "type": PODS}
TABLE: dict[str, dict[str, str]] = {
    "PodSpec": {
        "activeDeadlineSeconds": PODS,
        "affinity": "api/nodes",
        "automountServiceAccountToken": ADMISSION,
        "containers": "api/pods",
        "dnsConfig": PODS,
        "dnsPolicy": PODS,
        "enableServiceLinks": ENV,
        "ephemeralContainers": "api/pods",
        "evictionResponders": Said("whom to ask before an eviction; the API for it is not served"),
        "hostAliases": PODS,
        "hostIPC": PODS,
        "hostNetwork": "api/pods",
        "hostPID": PODS,
        "hostUsers": PODS,
        "hostname": PODS,
        "hostnameOverride": PODS,
        "imagePullSecrets": "node/images",
        "initContainers": "api/pods",
        "nodeName": "api/pods",
        "nodeSelector": "api/nodes",
        "os": "node/admission.py",
        "overhead": "api/pods",
        "preemptionPolicy": SCHEDULER,
        "priority": "api/pods",
        "priorityClassName": PODS,
        "readinessGates": PODS,
        "resourceClaims": "api/pods",
        "resources": "api/pods",
        "restartPolicy": PODS,
        "runtimeClassName": PODS,
        "schedulerName": SCHEDULER,
        "schedulingGates": SCHEDULER,
        "schedulingGroup": PLANNED_ELSEWHERE,
        "securityContext": PODS,
        "serviceAccount": ADMISSION,
        "serviceAccountName": VOLUMES,
        "setHostnameAsFQDN": PODS,
        "shareProcessNamespace": PODS,
        "subdomain": PODS,
        "terminationGracePeriodSeconds": PODS,
        "tolerations": "api/pods",
        "topologySpreadConstraints": SCHEDULER,
        "volumes": VOLUMES,
    },
    "Container": CONTAINER,
    "EphemeralContainer": {**CONTAINER, "targetContainerName": PODS},
    "PodSecurityContext": {
        "appArmorProfile": PODS,
        "fsGroup": VOLUMES,
        "fsGroupChangePolicy": VOLUMES,
        "runAsGroup": PODS,
        "runAsNonRoot": PODS,
        "runAsUser": PODS,
        "seLinuxChangePolicy": Said("how labels get onto volumes: no volume type here is labelled by the node"),
        "seLinuxOptions": PODS,
        "seccompProfile": PODS,
        "supplementalGroups": PODS,
        "supplementalGroupsPolicy": "node/admission.py",
        "sysctls": "node/admission.py",
        "windowsOptions": NOT_LINUX,
    },
    "SecurityContext": {
        "allowPrivilegeEscalation": PODS,
        "appArmorProfile": PODS,
        "capabilities": PODS,
        "privileged": PODS,
        "procMount": PODS,
        "readOnlyRootFilesystem": PODS,
        "runAsGroup": PODS,
        "runAsNonRoot": PODS,
        "runAsUser": PODS,
        "seLinuxOptions": PODS,
        "seccompProfile": PODS,
        "windowsOptions": NOT_LINUX,
    },
    "AppArmorProfile": PROFILE,
    "SeccompProfile": PROFILE,
    "Capabilities": {"add": PODS, "drop": PODS},
    "SELinuxOptions": {"level": PODS, "role": PODS, "type": PODS, "user": PODS},
    "WindowsSecurityContextOptions": dict.fromkeys(
        ("gmsaCredentialSpec", "gmsaCredentialSpecName", "hostProcess", "runAsUserName"), NOT_LINUX
    ),
    "Sysctl": {"name": PODS, "value": PODS},
    "PodOS": {"name": "node/admission.py"},
    "ResourceRequirements": {
        "claims": "node/devices",
        "limits": "api/pods",
        "requests": "api/pods",
    },
    "ResourceClaim": dict.fromkeys(("name", "request"), Said("a pod with resource claims is refused")),
    "PodResourceClaim": dict.fromkeys(
        ("name", "resourceClaimName", "resourceClaimTemplateName"), Said("a pod with resource claims is refused")
    ),
    "ContainerResizePolicy": dict.fromkeys(("resourceName", "restartPolicy"), NO_RESIZE),
    "ContainerRestartRule": {"action": PODS, "exitCodes": PODS},
    "ContainerRestartRuleOnExitCodes": {"operator": PODS, "values": PODS},
    "ContainerPort": {
        "containerPort": PODS,
        "hostIP": "api/pods",
        "hostPort": "api/pods",
        "name": PODS,
        "protocol": PODS,
    },
    "VolumeMount": {
        "bindMountOptions": PODS,
        "mountPath": VOLUMES,
        "mountPropagation": VOLUMES,
        "name": VOLUMES,
        "readOnly": VOLUMES,
        "recursiveReadOnly": PODS,
        "subPath": VOLUMES,
        "subPathExpr": VOLUMES,
    },
    "VolumeDevice": {"devicePath": VOLUMES, "name": VOLUMES},
    "Lifecycle": {"postStart": PODS, "preStop": PODS, "stopSignal": PODS},
    "LifecycleHandler": {"exec": PROBES, "httpGet": PROBES, "sleep": PROBES, "tcpSocket": PROBES},
    "Probe": {
        "exec": PROBES,
        "failureThreshold": "node",
        "grpc": PROBES,
        "httpGet": PROBES,
        "initialDelaySeconds": "node",
        "periodSeconds": "node",
        "successThreshold": "node",
        "tcpSocket": PROBES,
        "terminationGracePeriodSeconds": PODS,
        "timeoutSeconds": "node",
    },
    "ExecAction": {"command": PROBES},
    "HTTPGetAction": {
        "host": PROBES,
        "httpHeaders": PROBES,
        "path": PROBES,
        "port": PROBES,
        "protocol": WIRE,
        "scheme": PROBES,
    },
    "HTTPHeader": {"name": PROBES, "value": PROBES},
    "TCPSocketAction": {"host": PROBES, "port": PROBES},
    "GRPCAction": {"mode": WIRE, "port": PROBES, "service": PROBES},
    "SleepAction": {"seconds": PROBES},
    "EnvVar": {"name": ENV, "value": ENV, "valueFrom": ENV},
    "EnvVarSource": dict.fromkeys(
        ("configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"), ENV
    ),
    "ConfigMapKeySelector": KEY,
    "SecretKeySelector": KEY,
    "FileKeySelector": {"key": ENV, "optional": ENV, "path": ENV, "volumeName": ENV},
    "ObjectFieldSelector": {"apiVersion": API, "fieldPath": ENV},
    "ResourceFieldSelector": {"containerName": ENV, "divisor": ENV, "resource": ENV},
    "EnvFromSource": {"configMapRef": ENV, "prefix": ENV, "secretRef": ENV},
    "ConfigMapEnvSource": {"name": ENV, "optional": ENV},
    "SecretEnvSource": {"name": ENV, "optional": ENV},
    "PodDNSConfig": {"nameservers": PODS, "options": PODS, "searches": PODS},
    "PodDNSConfigOption": {"name": PODS, "value": PODS},
    "HostAlias": {"hostnames": PODS, "ip": PODS},
    "LocalObjectReference": {"name": "node"},
    "PodReadinessGate": {"conditionType": PODS},
    "PodSchedulingGate": {"name": SCHEDULER},
    "PodSchedulingGroup": {"podGroupName": PLANNED_ELSEWHERE},
    "EvictionResponder": dict.fromkeys(("name", "priority"), Said("see spec.evictionResponders")),
    "Toleration": {
        "effect": "api/pods",
        "key": "api/pods",
        "operator": "api/pods",
        "tolerationSeconds": "controllers",
        "value": "api/pods",
    },
    "TopologySpreadConstraint": dict.fromkeys(
        ("labelSelector", "matchLabelKeys", "maxSkew", "minDomains", "nodeAffinityPolicy", "nodeTaintsPolicy",
         "topologyKey", "whenUnsatisfiable"),
        SCHEDULER,
    ),
}  # fmt: skip
#: Volumes and affinity have tests of their own; a volume of a type that the node does not have is refused by its name.
ELSEWHERE = {"Volume", "Affinity"}


def referred(schema: object) -> set[str]:
    """Names of the core types that a field's schema mentions."""
    if isinstance(schema, dict):
        name = schema.get("$ref")
        found = {name.rpartition("/")[2].removeprefix(CORE)} if isinstance(name, str) and CORE in name else set()
        return found.union(*(referred(value) for value in schema.values()))
    return set().union(*(referred(item) for item in schema)) if isinstance(schema, list) else set()


def reachable() -> dict[str, set[str]]:
    """The types of a pod's spec with their fields."""
    found: dict[str, set[str]] = {}
    left = {"PodSpec"}
    while left:
        name = left.pop()
        properties = SCHEMA[CORE + name].get("properties") or {}
        found[name] = set(properties)
        left |= {each for each in referred(properties) if each not in found and each not in ELSEWHERE}
    return found


@cache
def literals(place: str) -> set[str]:
    """Every text that stands as a literal in the place, comments and documentation apart."""
    root = SOURCE / place
    found: set[str] = set()
    for file in [root] if root.suffix else root.rglob("*.py"):
        if "pb" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_the_table_has_every_field_of_the_schema_and_no_other() -> None:
    assert {name: set(fields) for name, fields in TABLE.items()} == reachable()


@pytest.mark.parametrize("name", sorted(TABLE))
def test_who_is_said_to_read_a_field_names_it(name: str) -> None:
    missing = {
        field: place
        for field, place in TABLE[name].items()
        if not isinstance(place, Said) and field not in literals(place)
    }
    assert missing == {}
