"""Removes certificate requests that are over (upstream ``certificates/cleaner``): CertificateSigningRequests an hour
after they were signed, denied or failed, or a day after nobody did anything, PodCertificateRequests after half an hour.

Each object has its moment; nothing is listed by period.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from sampan.api import objects
from sampan.api.clock import parse_time
from sampan.api.errors import NotFound
from sampan.api.reading import part, parts, text
from sampan.api.resources import CERTIFICATE_SIGNING_REQUESTS, POD_CERTIFICATE_REQUESTS, Resource
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context

NAME = "certificate-controller"
POD_REQUESTS_NAME = "podcertificaterequestcleaner"

_DECIDED: Final = timedelta(hours=1)
_PENDING: Final = timedelta(hours=24)
_POD_REQUESTS: Final = timedelta(minutes=30)
#: Timers reach that far at most; then one looks again.
_LONGEST_WAIT: Final = timedelta(days=1)


def end_of_request(csr: Obj) -> datetime | None:
    """When a CertificateSigningRequest is over; None: it stays. Pure."""
    status = part(csr, "status")
    conditions, certificate = list(parts(status, "conditions")), text(status, "certificate")
    ends: list[datetime] = []
    if not conditions:
        ends.append(_time(text(part(csr, "metadata"), "creationTimestamp"), _PENDING))
    for condition in conditions:
        kind, updated = condition.get("type"), text(condition, "lastUpdateTime")
        if updated and kind in ("Approved", "Denied", "Failed"):
            unsigned = kind == "Approved" and not certificate
            ends.append(_time(updated, _PENDING if unsigned else _DECIDED))
        if kind == "Approved" and certificate and (expiry := _expiry(certificate)) is not None:
            ends.append(expiry)
    return min(ends, default=None)


def end_of_pod_request(request: Obj) -> datetime | None:
    """When a PodCertificateRequest is over. Pure."""
    return _time(text(part(request, "metadata"), "creationTimestamp"), _POD_REQUESTS)


def _time(since: str, after: timedelta) -> datetime:
    try:
        return parse_time(since) + after
    except ValueError:  # damaged: over at once would be worse than never
        return datetime.max.replace(tzinfo=UTC)


def _expiry(certificate: str) -> datetime | None:
    try:
        return x509.load_pem_x509_certificate(base64.b64decode(certificate)).not_valid_after_utc
    except (ValueError, binascii.Error):
        return None


class RequestCleaner:
    """For one of the two kinds. ``end`` says when an object is over."""

    def __init__(self, context: Context, name: str, resource: Resource, end: Callable[[Obj], datetime | None]) -> None:
        self._resource, self._end, self._clock = resource, end, context.clock
        self._client = context.client_for(name)
        self._objects = context.informers.informer(resource)
        self._controller: Controller[ObjectKey] = Controller(name, self.sync, workers=1)
        self._controller.watch(self._objects, own_key)

    @classmethod
    def of_signing_requests(cls, context: Context) -> RequestCleaner:
        return cls(context, NAME, CERTIFICATE_SIGNING_REQUESTS, end_of_request)

    @classmethod
    def of_pod_requests(cls, context: Context) -> RequestCleaner:
        return cls(context, POD_REQUESTS_NAME, POD_CERTIFICATE_REQUESTS, end_of_pod_request)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        obj = self._objects.get(*key)
        end = None if obj is None or objects.is_deleting(obj) else self._end(obj)
        if obj is None or end is None:
            return DONE
        now = self._clock.now()
        if now < end:
            return Result((min(end - now, _LONGEST_WAIT)).total_seconds())
        try:
            await self._client.delete(self._resource, key.name, key.namespace or None, uid=obj["metadata"]["uid"])
        except NotFound:
            pass
        return DONE
