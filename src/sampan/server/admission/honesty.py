"""Honesty: tells clients that create or apply an object what does not happen with it yet (``server/honesty.py``).

It refuses nothing. Components of this process are not told: they know, and nobody reads their warnings.
"""

from __future__ import annotations

from collections.abc import Mapping

from sampan.api.registry import Registry
from sampan.server import honesty
from sampan.server.admission.base import Plugin
from sampan.server.attributes import AdmissionAttributes

_APPLY = "application/apply-patch"


class Honesty(Plugin):
    """Goes after the plugins that may refuse: who is refused has no object to be told about."""

    name = "Honesty"

    def __init__(self, kinds: Registry) -> None:
        lacking: Mapping[honesty.Name, honesty.Lack] = honesty.LACKS
        self.resources = frozenset(
            (kind.group, kind.plural) for kind in kinds.kinds() if (kind.group, kind.kind) in lacking
        )

    async def validate(self, attributes: AdmissionAttributes) -> None:
        write = attributes
        if write.request.in_process or write.subresource or write.obj is None:
            return
        name = (write.kind.group, write.kind.kind)
        told = honesty.warning(name, write.obj)
        if told and (_is_asked_for(write) or told != honesty.warning(name, write.old or {})):
            write.request.warn(told)


def _is_asked_for(write: AdmissionAttributes) -> bool:
    """Created, or declared anew; an update is told only what it brings."""
    return write.operation == "CREATE" or write.request.headers.get("content-type", "").startswith(_APPLY)
