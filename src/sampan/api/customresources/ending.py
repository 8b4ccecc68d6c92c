"""How the deletion of a definition begins: marked, with a finalizer that goes when its objects are gone. Pure.

Source: apiextensions ``registry/customresourcedefinition`` (``REST.Delete``).
"""

from __future__ import annotations

from sampan.api.clock import parse_time
from sampan.api.customresources import naming
from sampan.api.types import Obj

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_MESSAGE = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"


def is_marked(definition: Obj) -> bool:
    """Nothing removes a definition that was not marked before."""
    return bool(definition["metadata"].get("deletionTimestamp"))


def mark(definition: Obj) -> None:
    """Upstream leaves the generation and the grace period alone here, which every other deletion sets."""
    metadata = definition["metadata"]
    metadata.pop("deletionGracePeriodSeconds", None)
    if metadata.get("generation", 0) > 1:
        metadata["generation"] -= 1
    finalizers = metadata.setdefault("finalizers", [])
    if FINALIZER not in finalizers:
        finalizers.append(FINALIZER)
    status = definition.setdefault("status", {})
    now = parse_time(metadata["deletionTimestamp"])
    row = ("True", "InstanceDeletionPending", _MESSAGE)
    status["conditions"] = naming.with_condition(status.get("conditions"), naming.TERMINATING, *row, now)
