"""From the text of a manifest to the static pod that a node makes of it, and to that one's mirror. Pure.

As the kubelet (``config/common.go``, ``pod/mirror_client.go``): the pod's uid is a hash of what stands in the file, so
a changed file is another pod; its name ends in the node's. It may name nothing that only the API server knows.
"""

from __future__ import annotations

import hashlib

import orjson

from sampan.api import errors, schema
from sampan.api.groups.core.pod import KINDS
from sampan.api.groups.core.pod_defaults import default_pod
from sampan.api.metadata import validate_create
from sampan.api.objects import deep_copy
from sampan.api.pods.origin import MIRROR_ANNOTATION, SOURCE_ANNOTATION
from sampan.api.pods.references import api_reference
from sampan.api.schema import decoding
from sampan.api.types import Obj
from sampan.api.validation import pod as validation
from sampan.api.validation.options import Options

HASH_ANNOTATION = "kubernetes.io/config.hash"
SEEN_ANNOTATION = "kubernetes.io/config.seen"
#: Static pods stay whatever is wrong with the node.
_TOLERATION = {"operator": "Exists", "effect": "NoExecute"}


class BadManifest(Exception):
    """Why a file gives no pod; the text says it to a person."""


def read(data: bytes, file: str, node_name: str, seen: str) -> Obj:
    """Raises BadManifest."""
    try:
        value, _ = schema.parse_yaml(data)
    except errors.BadRequest as error:
        raise BadManifest(str(error)) from error
    if not isinstance(value, dict) or (value.get("apiVersion"), value.get("kind")) != ("v1", "Pod"):
        raise BadManifest("it is no Pod of v1")
    decoded = decoding.decode(schema.load().definition("io.k8s.api.core.v1.Pod"), value, "Pod")
    if decoded.error is not None:
        raise BadManifest(decoding.wrong_type_message("Pod", "v1", decoded.error))
    pod = _as_static(decoded.value, file, node_name, seen)
    if resource := api_reference(pod):
        raise BadManifest(f"static pods may not reference {resource}")
    name = pod["metadata"]["name"]
    faults = validate_create(pod, KINDS[0]) + validation.new_pod(pod, Options(is_pod=True, pod_name=name))
    if faults:
        raise BadManifest(str(errors.invalid_object("Pod", name, faults)))
    return pod


def _as_static(pod: Obj, file: str, node_name: str, seen: str) -> Obj:
    meta, spec = dict(pod.get("metadata") or {}), dict(pod.get("spec") or {})
    uid = meta.get("uid") or _hash(pod, file, node_name)
    tolerations = [item for item in spec.get("tolerations") or () if item != _TOLERATION]
    made = {
        **pod,
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            **meta,
            "name": f"{meta.get('name', '')}-{node_name.lower()}",
            "namespace": meta.get("namespace") or "default",
            "uid": uid,
            "annotations": {
                **(meta.get("annotations") or {}),
                HASH_ANNOTATION: uid,
                SEEN_ANNOTATION: seen,
                SOURCE_ANNOTATION: "file",
            },
        },
        "spec": {**spec, "nodeName": node_name, "tolerations": [*tolerations, _TOLERATION]},
        "status": {"phase": "Pending"},
    }
    default_pod(made)
    return made


def _hash(pod: Obj, file: str, node_name: str) -> str:
    text = f"host:{node_name}file:{file}".encode() + orjson.dumps(pod, option=orjson.OPT_SORT_KEYS)
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def mirror_of(pod: Obj, node_name: str, node_uid: str) -> Obj:
    """What the API server is shown."""
    made: Obj = deep_copy(pod)
    meta = made["metadata"]
    meta["annotations"][MIRROR_ANNOTATION] = meta.pop("uid")
    owner = {"apiVersion": "v1", "kind": "Node", "name": node_name, "uid": node_uid, "controller": True}
    meta["ownerReferences"] = [owner]
    del made["status"]
    return made


def hash_of(pod: Obj) -> str:
    """Of a static pod, and of the one that a mirror shows: they are the same pod when it is equal."""
    annotations = pod["metadata"].get("annotations") or {}
    return str(annotations.get(MIRROR_ANNOTATION) or annotations.get(HASH_ANNOTATION) or "")
