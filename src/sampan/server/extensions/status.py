"""How the server writes the status of a definition: a patch that counts only for the revision it was made for."""

from __future__ import annotations

from sampan.api.resources import Resource
from sampan.api.transport import Call
from sampan.api.types import Obj

CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
#: names that may be missing from a status
_OPTIONAL = ("singular", "listKind", "shortNames", "categories")
_MANAGER = "kube-apiserver"


def status_call(name: str, revision: int | str, status: Obj, metadata: Obj | None = None) -> Call:
    """Writes names and conditions of ``status``. ``metadata``: what else becomes of it (finalizers)."""
    names = dict.fromkeys(_OPTIONAL) | (status.get("acceptedNames") or {})
    body = {
        "metadata": {"resourceVersion": str(revision), **(metadata or {})},
        "status": {"acceptedNames": names, "conditions": status.get("conditions")},
    }
    path = CRDS.path(name=name, subresource="status")
    return Call("PATCH", path, {"fieldManager": _MANAGER}, body, "application/merge-patch+json")
