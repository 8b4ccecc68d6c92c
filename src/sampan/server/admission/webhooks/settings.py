"""WebhookAdmissionConfiguration of the two plugins: the kubeconfig by which this server shows webhooks who it is."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any, Final

from sampan.records import dataclass
from sampan.server.admission.fields import Fields
from sampan.server.webhooks.credentials import Credentials, Identity

_GROUPS: Final = {"apiserver.config.k8s.io": ("v1", "v1alpha1")}


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    credentials: Credentials = field(default_factory=Credentials)


def read(fields: Fields, open_file: Callable[[Path], Any]) -> WebhookSettings:
    """``open_file``: the YAML of a file. Raises ConfigurationError."""
    fields.expect_one_of_types(_GROUPS, ("WebhookAdmission", "WebhookAdmissionConfiguration"))
    named = fields.text("kubeConfigFile")
    fields.finish()
    if not named:
        return WebhookSettings()
    if not Path(named).is_absolute():
        raise fields.fault("kubeConfigFile", "must be an absolute file path")
    users: dict[str, Identity] = {}
    for user in Fields(named, "", open_file(Path(named))).each("users"):
        name, what = user.text("name"), user.below("user")
        if not name:
            raise user.fault("name", "Required value")
        users[name] = _identity(what, Path(named).parent)
    return WebhookSettings(Credentials(users))


def _identity(user: Fields, folder: Path) -> Identity:
    certificate, key = _pem(user, "client-certificate", folder), _pem(user, "client-key", folder)
    if (certificate is None) != (key is None):
        raise user.fault("client-key", "a client certificate and its key go together")
    token_file = user.text("tokenFile")
    identity = Identity(
        certificate,
        key,
        user.text("token"),
        folder / token_file if token_file else None,
        user.text("username"),
        user.text("password"),
    )
    for left in user.left():
        raise user.fault(left, "is not supported towards webhooks")
    return identity


def _pem(user: Fields, key: str, folder: Path) -> Path | bytes | None:
    """What is written into the kubeconfig itself wins."""
    data, path = user.text(f"{key}-data"), user.text(key)
    if not data:
        return folder / path if path else None
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise user.fault(f"{key}-data", "illegal base64 data") from None
