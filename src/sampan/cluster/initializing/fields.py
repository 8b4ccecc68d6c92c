"""The fields of kubeadm's configuration, by version: what ``documents`` reads strictly. Data, and the check. Pure.

A shape is a word for a kind of value (``text``, ``number``, ``switch``, ``duration``, ``any``), a list of one shape, a
mapping of fields to shapes, or ``{"*": shape}`` for a map with any keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.api import durations

GROUP = "kubeadm.k8s.io"
V1BETA3, V1BETA4 = f"{GROUP}/v1beta3", f"{GROUP}/v1beta4"

Shape = Any
_TEXTS = {"*": "text"}
_ARG_LIST = [{"name": "text", "value": "text"}]
_ENV = ["any"]
_VOLUMES = [{"name": "text", "hostPath": "text", "mountPath": "text", "readOnly": "switch", "pathType": "text"}]
_WAITS = (
    "controlPlaneComponentHealthCheck",
    "discovery",
    "etcdAPICall",
    "kubeletHealthCheck",
    "kubernetesAPICall",
    "tlsBootstrap",
    "upgradeManifests",
)
_TIMEOUTS = dict.fromkeys(_WAITS, "duration")
_TOKEN = {
    "token": "text",
    "description": "text",
    "ttl": "duration",
    "expires": "text",
    "usages": ["text"],
    "groups": ["text"],
}
_ENDPOINT = {"advertiseAddress": "text", "bindPort": "number"}
_TAINT = {"key": "text", "value": "text", "effect": "text", "timeAdded": "text"}


def _registration(old: bool) -> Shape:
    fields: dict[str, Shape] = {
        "name": "text",
        "criSocket": "text",
        "taints": [_TAINT],
        "kubeletExtraArgs": _TEXTS if old else _ARG_LIST,
        "ignorePreflightErrors": ["text"],
        "imagePullPolicy": "text",
    }
    return fields if old else fields | {"imagePullSerial": "switch"}


def _component(old: bool) -> dict[str, Shape]:
    fields: dict[str, Shape] = {"extraArgs": _TEXTS if old else _ARG_LIST, "extraVolumes": _VOLUMES}
    return fields if old else fields | {"extraEnvs": _ENV}


def _init(old: bool) -> Shape:
    fields: dict[str, Shape] = {
        "bootstrapTokens": [_TOKEN],
        "nodeRegistration": _registration(old),
        "localAPIEndpoint": _ENDPOINT,
        "certificateKey": "text",
        "skipPhases": ["text"],
        "patches": {"directory": "text"},
    }
    return fields if old else fields | {"dryRun": "switch", "timeouts": _TIMEOUTS}


def _cluster(old: bool) -> Shape:
    image = {"imageRepository": "text", "imageTag": "text"}
    local = {
        **image,
        "dataDir": "text",
        "extraArgs": _TEXTS if old else _ARG_LIST,
        "serverCertSANs": ["text"],
        "peerCertSANs": ["text"],
    }
    external: dict[str, Shape] = {"endpoints": ["text"], "caFile": "text", "certFile": "text", "keyFile": "text"}
    server = {**_component(old), "certSANs": ["text"]}
    fields: dict[str, Shape] = {
        "etcd": {"local": local if old else local | {"extraEnvs": _ENV}, "external": external},
        "networking": {"serviceSubnet": "text", "podSubnet": "text", "dnsDomain": "text"},
        "kubernetesVersion": "text",
        "controlPlaneEndpoint": "text",
        "apiServer": server | {"timeoutForControlPlane": "duration"} if old else server,
        "controllerManager": _component(old),
        "scheduler": _component(old),
        "dns": image if old else image | {"disabled": "switch"},
        "certificatesDir": "text",
        "imageRepository": "text",
        "featureGates": {"*": "switch"},
        "clusterName": "text",
    }
    if old:
        return fields
    external["httpEndpoints"] = ["text"]
    return fields | {
        "proxy": {"disabled": "switch"},
        "encryptionAlgorithm": "text",
        "certificateValidityPeriod": "duration",
        "caCertificateValidityPeriod": "duration",
    }


def _join(old: bool) -> Shape:
    bootstrap = {
        "token": "text",
        "apiServerEndpoint": "text",
        "caCertHashes": ["text"],
        "unsafeSkipCAVerification": "switch",
    }
    discovery = {"bootstrapToken": bootstrap, "file": {"kubeConfigPath": "text"}, "tlsBootstrapToken": "text"}
    fields: dict[str, Shape] = {
        "nodeRegistration": _registration(old),
        "caCertPath": "text",
        "discovery": discovery | {"timeout": "duration"} if old else discovery,
        "controlPlane": {"localAPIEndpoint": _ENDPOINT, "certificateKey": "text"},
        "skipPhases": ["text"],
        "patches": {"directory": "text"},
    }
    return fields if old else fields | {"dryRun": "switch", "timeouts": _TIMEOUTS}


#: by apiVersion and kind
SHAPES: dict[tuple[str, str], Shape] = {
    (version, kind): shape(version == V1BETA3)
    for version in (V1BETA3, V1BETA4)
    for kind, shape in (("InitConfiguration", _init), ("ClusterConfiguration", _cluster), ("JoinConfiguration", _join))
}

_WORDS = {
    "text": "a text",
    "number": "a whole number",
    "switch": "true or false",
    "duration": "a duration like 24h0m0s",
}


class Fault(ValueError):
    """What is wrong with a document, with the path of the field."""


def check(document: Mapping[str, Any], shape: Shape) -> None:
    """Raises Fault for the first field that is unknown or of a wrong type."""
    for name, value in document.items():
        if name not in ("apiVersion", "kind"):
            _check(name, value, _field(name, name, shape))


def _check(path: str, value: Any, shape: Shape) -> None:
    if value is None or shape == "any":
        return
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise Fault(f"{path} must be a list")
        for place, item in enumerate(value):
            if item is None:
                raise Fault(f"{path}[{place}] is empty")
            _check(f"{path}[{place}]", item, shape[0])
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            raise Fault(f"{path} must be an object")
        for name, item in value.items():
            _check(f"{path}.{name}", item, _field(f"{path}.{name}", name, shape))
    elif not _fits(value, shape):
        raise Fault(f"{path} must be {_WORDS[shape]}")


def _field(path: str, name: str, shape: Shape) -> Shape:
    found = shape.get(name, shape.get("*"))
    if found is None:
        raise Fault(f'unknown field "{path}"')
    return found


def _fits(value: Any, kind: str) -> bool:
    if kind == "number":
        return type(value) is int
    if kind == "switch":
        return type(value) is bool
    if not isinstance(value, str):
        return False
    if kind == "duration":
        try:
            durations.parse(value)
        except ValueError:
            return False
    return True
