"""Whether a ResourceClaim, or a template of such, may ask for access to devices that others use: only where the label
of its namespace lets it (KEP-5018; registry/resource/resourceclaim, AuthorizedForAdmin). As upstream, refused templates
are told the path of a claim, though their requests are a level deeper.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api import errors
from sampan.api.reading import part, parts, text
from sampan.api.resources import NAMESPACES
from sampan.api.types import Obj
from sampan.server.hooks import Hook, Reservation
from sampan.server.reader import ObjectReader

LABEL = "resource.kubernetes.io/admin-access"


class AdminAccess(Hook):
    """``kind`` as refusals name it; ``nested``: the claim's spec is within a template's."""

    def __init__(self, reader: ObjectReader, kind: str, *, nested: bool = False) -> None:
        self._reader, self._kind, self._nested = reader, kind, nested

    async def before_create(self, obj: Obj, *, dry_run: bool) -> Reservation:
        spec = part(part(obj, "spec"), "spec") if self._nested else part(obj, "spec")
        requests = (part(request, "exactly") for request in parts(part(spec, "devices"), "requests"))
        first = _first(requests)
        if first is not None:
            await self._require(obj, f"spec.devices.requests[{first}].adminAccess")
        return None

    async def before_update(self, new: Obj, old: Obj, *, dry_run: bool) -> Reservation:
        """A spec cannot change; a status may say that a device was given with such access."""
        first = _first(_results(new))
        if first is not None and _first(_results(old)) is None:
            await self._require(new, f"status.allocation.devices.results[{first}].adminAccess")
        return None

    async def _require(self, obj: Obj, path: str) -> None:
        """Raises Invalid."""
        meta = obj["metadata"]
        namespace = await self._reader.fresh(NAMESPACES, None, meta["namespace"])
        if text(part(part(namespace, "metadata"), "labels"), LABEL) != "true":
            detail = f"admin access to devices requires the `{LABEL}: true` label on the containing namespace"
            raise errors.invalid_object(self._kind, meta["name"], [errors.forbidden(path, detail)], "resource.k8s.io")


def _results(obj: Obj) -> Iterable[Obj]:
    return parts(part(part(part(obj, "status"), "allocation"), "devices"), "results")


def _first(asked: Iterable[Obj]) -> int | None:
    return next((index for index, each in enumerate(asked) if each.get("adminAccess") is True), None)
