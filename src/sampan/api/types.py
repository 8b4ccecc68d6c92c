"""The plain types that every layer shares. An object is its JSON: a ``dict``."""

from __future__ import annotations

from typing import Any, NewType, TypeAlias, TypedDict

#: A Kubernetes object as decoded JSON. Objects that come from a cache are shared: read-only by agreement.
Obj: TypeAlias = dict[str, Any]

Uid = NewType("Uid", str)
#: A point in the store's history; the ``resourceVersion`` of the API is its decimal form.
Revision = NewType("Revision", int)


class OwnerReference(TypedDict, total=False):
    apiVersion: str
    kind: str
    name: str
    uid: str
    controller: bool
    blockOwnerDeletion: bool


class ObjectMeta(TypedDict, total=False):
    """Metadata of every object (API reference, ObjectMeta v1)."""

    name: str
    generateName: str
    namespace: str
    uid: str
    resourceVersion: str
    generation: int
    creationTimestamp: str
    deletionTimestamp: str
    deletionGracePeriodSeconds: int
    labels: dict[str, str]
    annotations: dict[str, str]
    ownerReferences: list[OwnerReference]
    finalizers: list[str]
    managedFields: list[Obj]


class Condition(TypedDict, total=False):
    """One entry of ``status.conditions``."""

    type: str
    status: str
    reason: str
    message: str
    lastTransitionTime: str
    lastUpdateTime: str
    lastHeartbeatTime: str
    lastProbeTime: str
    observedGeneration: int
