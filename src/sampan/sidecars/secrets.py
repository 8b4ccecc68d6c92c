"""Secrets that go with calls to the driver: read when they are needed, and kept no longer than it is open what a
call came to."""

from __future__ import annotations

import base64
import binascii

from sampan.api.errors import NotFound
from sampan.api.reading import text_map
from sampan.api.resources import SECRETS
from sampan.api.storage.secretrefs import SecretRef
from sampan.client.client import Client


class NoSecret(ValueError):
    """It is not there yet: whoever needs it says so, and tries again."""


async def read(client: Client, reference: SecretRef | None) -> dict[str, str]:
    """Raises ApiError; NoSecret; ValueError for what is no text."""
    if reference is None:
        return {}
    try:
        secret = await client.get(SECRETS, reference.name, reference.namespace)
    except NotFound as error:
        raise NoSecret(error.message) from None
    try:
        return {key: base64.b64decode(value).decode() for key, value in text_map(secret, "data").items()}
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f"secret {reference.namespace}/{reference.name} holds what is no text") from None
