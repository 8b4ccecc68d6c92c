"""Signs approved CertificateSigningRequests of the four built-in signers (upstream ``certificates/signer``).

A request that its signer does not give is marked ``Failed``; one that cannot be read, or an expired CA, is told in the
log and tried again as the object or the CA changes.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sampan.api.clock import format_time
from sampan.api.reading import part, text, whole
from sampan.api.resources import CERTIFICATE_SIGNING_REQUESTS
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.certificates import requests
from sampan.controllers.certificates.authority import Authority, Refused
from sampan.controllers.certificates.requests import CHECKS, NotAllowed, Unreadable
from sampan.controllers.context import Context

log = logging.getLogger(__name__)

NAME = "certificate-controller"
#: The CA may have been renewed by then.
_AGAIN_SECONDS = 300.0


def wants_signature(csr: Obj) -> bool:
    """Approved, for a signer of ours, and nothing has come of it yet. Pure."""
    if text(part(csr, "status"), "certificate") or requests.is_true(csr, "Failed"):
        return False
    if not requests.has(csr, "Approved") or requests.has(csr, "Denied"):
        return False
    return text(part(csr, "spec"), "signerName") in CHECKS


def outcome(csr: Obj, authority: Callable[[], Authority], now: datetime) -> Obj:
    """The request with its certificate, or failed. Raises Unreadable, Refused. Takes some milliseconds of a thread.

    ``authority`` is asked only if there is something to sign.
    """
    asked, wanted = requests.read(csr), requests.usages(csr)
    spec = part(csr, "spec")
    try:
        CHECKS[text(spec, "signerName")](asked, wanted)
    except NotAllowed as error:
        failed = {
            "type": "Failed",
            "status": "True",
            "reason": "SignerValidationFailure",
            "message": str(error),
            "lastUpdateTime": format_time(now),
        }
        return requests.with_condition(csr, failed)
    pem = authority().sign(asked.request, wanted, whole(spec, "expirationSeconds"), now)
    return {**csr, "status": {**part(csr, "status"), "certificate": base64.b64encode(pem).decode()}}


class CertificateSigner:
    """The CA's files are read at each signature: they may be replaced while this runs."""

    def __init__(self, context: Context) -> None:
        self._config, self._clock = context.config, context.clock
        self._client = context.client_for(NAME)
        self._requests = context.informers.informer(CERTIFICATE_SIGNING_REQUESTS)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync)
        self._controller.watch(self._requests, own_key)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        csr = self._requests.get(*key)
        if csr is None or not wants_signature(csr):
            return DONE
        now = self._clock.now()
        try:
            written = await asyncio.to_thread(outcome, csr, self._authority, now)
        except (Unreadable, Refused) as error:
            log.warning("certificate request %s is not signed: %s", key.name, error)
            return Result(_AGAIN_SECONDS) if isinstance(error, Refused) else DONE
        await self._client.update_status(CERTIFICATE_SIGNING_REQUESTS, written)
        return DONE

    def _authority(self) -> Authority:
        """Raises Refused."""
        config = self._config
        if config.signing_certificate is None or config.signing_key is None:
            raise Refused("no CA to sign with is configured")
        longest = timedelta(seconds=config.signing_seconds)
        try:
            return Authority.read(config.signing_certificate, config.signing_key, longest)
        except (OSError, ValueError) as error:
            raise Refused(f"{config.signing_certificate} and its key are no CA that can sign") from error
