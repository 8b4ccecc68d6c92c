"""Certificate requests that have no certificate."""

from __future__ import annotations

import base64
from typing import Final

from sampan.api.clock import format_time
from sampan.api.reading import part, parts, text
from sampan.api.resources import CERTIFICATE_SIGNING_REQUESTS
from sampan.api.types import Obj
from sampan.why.model import Action, Cause, Fix, ref_of
from sampan.why.states import condition_of
from sampan.why.table import Found, rule
from sampan.why.world import World

_OWN: Final = "kubernetes.io/"


@rule("request-undecided", CERTIFICATE_SIGNING_REQUESTS, says="whether somebody approved the request")
def undecided(world: World, request: Obj) -> Found:
    kinds = {text(each, "type") for each in parts(part(request, "status"), "conditions")}
    if kinds & {"Approved", "Denied", "Failed"}:
        return
    ref, spec = ref_of(CERTIFICATE_SIGNING_REQUESTS, request), part(request, "spec")
    approval = {
        "type": "Approved", "status": "True", "reason": "KubectlApprove",
        "message": "This CSR was approved by kubectl certificate approve.", "lastUpdateTime": format_time(world.now),
    }  # fmt: skip
    subject = _subject(text(spec, "request"))
    fix = Fix(
        "approve it, if that is who it says",
        (Action("approve", ref, [approval], "approval"),),
        f"whoever made the request is then known as {subject or 'whom it names'}",
    )
    if subject is None or "O=system:masters" in subject:
        fix = Fix(
            "do not approve it before you know who made it, and why: `kubectl describe csr` shows what it asks for"
        )
    yield Cause(
        f"{ref.place} has no certificate: nobody approved it.",
        (
            f"{text(spec, 'username')} asks for a certificate of {text(spec, 'signerName')}",
            f"it is to name {subject or 'nobody that can be read'}",
        ),
        fix,
        rank=0,
    )


def _subject(written: str) -> str | None:
    """Whom the certificate is to name: ``CN=bob, O=team``; None: that cannot be read."""
    from sampan.api.validation import pem  # late: only here, and cryptography takes a while to load

    try:
        found = pem.request(base64.b64decode(written))
    except (ValueError, pem.Unreadable):
        return None
    return ", ".join(f"{each.rfc4514_attribute_name}={each.value!s}" for each in found.subject) or "nobody"


@rule("request-denied", CERTIFICATE_SIGNING_REQUESTS, says="whether the request was denied")
def denied(world: World, request: Obj) -> Found:
    for kind, word in (("Denied", "was denied"), ("Failed", "failed")):
        found = condition_of(request, kind)
        if found.get("status") == "True":
            yield Cause(
                f"{ref_of(CERTIFICATE_SIGNING_REQUESTS, request).place} has no certificate: it "
                f"{word} ({text(found, 'reason')}).",
                (text(found, "message"),),
                Fix("make another request: a decision stays"),
                rank=0,
            )


@rule("request-signer", CERTIFICATE_SIGNING_REQUESTS, says="whether its signer is there")
def signer(world: World, request: Obj) -> Found:
    name = text(part(request, "spec"), "signerName")
    approved = condition_of(request, "Approved").get("status") == "True"
    if not approved or text(part(request, "status"), "certificate") or condition_of(request, "Failed"):
        return
    known = name.startswith(_OWN) and name != "kubernetes.io/legacy-unknown"
    yield Cause(
        f"{ref_of(CERTIFICATE_SIGNING_REQUESTS, request).place} is approved, and its signer {name} has not signed it.",
        ("status.certificate is empty",),
        Fix(
            "see that the controllers run" if known else f"run the program that signs for {name}, or ask another signer"
        ),
        "likely",
        rank=1,
    )
