"""What a write through one URL cannot change, and so does not own (upstream: GetResetFields of the strategies).

The main resource resets status, status resets spec; some kinds reset metadata, or parts of it, with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from sampan.api.apply import sets
from sampan.api.apply.sets import NONE, Fields
from sampan.api.kind import Kind

_METADATA: Final = ("f:metadata",)
#: What /status resets besides spec, by group and resource.
_STATUS: Final[Mapping[tuple[str, str], tuple[tuple[str, ...], ...]]] = {
    ("", "pods"): (("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:ownerReferences")),
    ("apps", "deployments"): (("f:metadata", "f:labels"),),
    ("apiextensions.k8s.io", "customresourcedefinitions"): (_METADATA,),
    ("apiregistration.k8s.io", "apiservices"): (_METADATA,),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): (_METADATA,),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): (_METADATA,),
    ("storage.k8s.io", "volumeattachments"): (_METADATA,),
}
#: Of subresources with a strategy of their own.
_OTHERS: Final[Mapping[tuple[str, str, str], tuple[tuple[str, ...], ...]]] = {
    ("certificates.k8s.io", "certificatesigningrequests", "approval"): (("f:spec",),),
    ("", "namespaces", "finalize"): (("f:status",),),
}


def reset_by(kind: Kind, subresource: str) -> Fields:
    """The fields, with all below them, that a write to this URL leaves as they are."""
    return _reset(kind.group, kind.plural, subresource, kind.status)


@lru_cache(maxsize=4096)
def _reset(group: str, plural: str, subresource: str, has_status: bool) -> Fields:
    if not subresource:
        return sets.at(("f:status",)) if has_status else NONE
    if subresource == "status":
        paths = (("f:spec",), *_STATUS.get((group, plural), ()))
    else:
        paths = _OTHERS.get((group, plural, subresource), ())
    found = NONE
    for path in paths:
        found = sets.union(found, sets.at(path))
    return found
