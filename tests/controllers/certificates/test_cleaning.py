"""When certificate requests are over."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from sampan.api.resources import CERTIFICATE_SIGNING_REQUESTS, POD_CERTIFICATE_REQUESTS
from sampan.controllers.certificates.authority import Authority
from sampan.controllers.certificates.cleaning import RequestCleaner, end_of_request

START = datetime(2026, 1, 1, 1, tzinfo=UTC)
MADE = datetime(2026, 1, 1, 0, tzinfo=UTC)
DECIDED = "2026-01-01T00:30:00Z"
HOUR = timedelta(hours=1)


def told(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": "True", "lastUpdateTime": DECIDED, **more}


@pytest.mark.parametrize(
    ("conditions", "certificate", "end"),
    [
        ([], "", MADE + 24 * HOUR),
        ([told("Denied")], "", MADE + 1.5 * HOUR),
        ([told("Approved"), told("Failed")], "", MADE + 1.5 * HOUR),
        ([told("Approved")], "", MADE + 24.5 * HOUR),
        ([told("Approved")], "anything", MADE + 1.5 * HOUR),
        ([told("Approved", lastUpdateTime="nonsense")], "", datetime.max.replace(tzinfo=UTC)),
        ([told("SomebodyElses")], "", None),
    ],
)
def test_a_request_is_over_an_hour_after_its_end_or_a_day_after_nothing(
    csr_of: Callable[..., Any], conditions: list[Any], certificate: str, end: datetime | None
) -> None:
    csr = csr_of(b"", "example.com/a", ("client auth",), conditions)
    if certificate:
        csr["status"]["certificate"] = base64.b64encode(certificate.encode()).decode()
    assert end_of_request(csr) == end


def test_a_request_is_over_with_its_certificate(
    csr_of: Callable[..., Any], request_of: Callable[..., bytes], ca: Any
) -> None:
    request = x509.load_pem_x509_csr(request_of())
    authority = Authority.read(ca.certificate, ca.key, timedelta(days=1))
    pem = authority.sign(request, ("client auth",), 600, START - timedelta(minutes=40))
    csr = csr_of(b"", "example.com/a", ("client auth",), [told("Approved")])
    csr["status"]["certificate"] = base64.b64encode(pem).decode()
    assert end_of_request(csr) == START - timedelta(minutes=30)


async def test_what_is_over_goes_and_the_rest_stays(
    api: Any, context: Any, running: Any, wait: Any, csr_of: Callable[..., Any]
) -> None:
    pending = csr_of(b"", "example.com/a", ("client auth",), name="pending")
    denied = csr_of(b"", "example.com/a", ("client auth",), [told("Denied", lastUpdateTime="2026-01-01T00:00:00Z")])
    api.add(CERTIFICATE_SIGNING_REQUESTS, pending)
    api.add(CERTIFICATE_SIGNING_REQUESTS, denied)
    for name, made in (("old", "2026-01-01T00:29:59Z"), ("new", "2026-01-01T00:30:01Z")):
        metadata = {"name": name, "namespace": "default", "creationTimestamp": made}
        api.add(POD_CERTIFICATE_REQUESTS, {"metadata": metadata, "spec": {}})
    cleaners = RequestCleaner.of_signing_requests(context), RequestCleaner.of_pod_requests(context)
    async with running(*cleaners):
        await wait.quiet(api)
    assert [csr["metadata"]["name"] for csr in api.all(CERTIFICATE_SIGNING_REQUESTS)] == ["pending"]
    assert [request["metadata"]["name"] for request in api.all(POD_CERTIFICATE_REQUESTS)] == ["new"]
