"""Secrets that go with calls to the driver: read when they are needed, and kept nowhere."""

from __future__ import annotations

import base64
import binascii

from sampan.api.reading import text_map
from sampan.api.resources import SECRETS
from sampan.api.storage.secretrefs import SecretRef
from sampan.client.client import Client


async def read(client: Client, reference: SecretRef | None) -> dict[str, str]:
    """Raises ApiError; ValueError for what is no text."""
    if reference is None:
        return {}
    secret = await client.get(SECRETS, reference.name, reference.namespace)
    try:
        return {key: base64.b64decode(value).decode() for key, value in text_map(secret, "data").items()}
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f"secret {reference.namespace}/{reference.name} holds what is no text") from None
