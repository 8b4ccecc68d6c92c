"""Where a webhook is, from a ``clientConfig`` (admissionregistration.k8s.io/v1, apiextensions.k8s.io/v1). Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import urlsplit

from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.records import dataclass

HTTPS_PORT: Final = 443


class BadTarget(Exception):
    """Nobody can be called by this; says why in the reference's words."""


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    namespace: str
    name: str
    port: int

    @property
    def host(self) -> str:
        """The name that the webhook's certificate has to have."""
        return f"{self.name}.{self.namespace}.svc"


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """``url``: as it is called and as messages show it; of a Service, its host is the Service's name in the cluster.

    ``ca_bundle``: PEM of who signs the webhook's certificate; empty: the machine's own roots do.
    """

    url: str
    service: ServiceTarget | None = None
    ca_bundle: bytes = b""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or HTTPS_PORT


def target_of(config: Obj) -> WebhookTarget:
    """Raises BadTarget."""
    bundle = _bundle(config.get("caBundle"))
    service, url = config.get("service"), text(config, "url")
    if isinstance(service, dict):
        port = service.get("port")
        place = ServiceTarget(
            text(service, "namespace"), text(service, "name"), port if isinstance(port, int) else HTTPS_PORT
        )
        path = text(part(config, "service"), "path")
        return WebhookTarget(f"https://{place.host}:{place.port}/{path.lstrip('/')}", place, bundle)
    if not url:
        raise BadTarget("webhook configuration must have either service or URL")
    try:
        parsed = urlsplit(url)
        usable = parsed.scheme == "https" and bool(parsed.hostname) and (parsed.port is None or parsed.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise BadTarget(f"Unparsable URL: {url[:256]}")
    return WebhookTarget(url, None, bundle)


def _bundle(encoded: object) -> bytes:
    if not encoded:
        return b""
    try:
        return base64.b64decode(encoded if isinstance(encoded, str | bytes) else b"", validate=True)
    except (binascii.Error, ValueError):
        raise BadTarget("unable to load root certificates: unable to parse bytes as PEM block") from None
