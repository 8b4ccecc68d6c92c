"""Who this server is to webhooks: the ``users`` of a kubeconfig, by the host and port of the webhook.

A user's name is a host (``hook.ns.svc``, which stands for port 443), a host with a port, or ``*.`` and the end of one;
the longest name wins (apiserver util/webhook, authentication.go). Files are read when a connection is made.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Final

from sampan.records import dataclass

_HTTPS: Final = ":443"


@dataclass(frozen=True, slots=True)
class Identity:
    """A client certificate (as files, or as the PEM itself), a bearer token, a name and password: what there is."""

    certificate: Path | bytes | None = None
    key: Path | bytes | None = None
    token: str = ""
    token_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)

    def authorization(self) -> str:
        """The header's value; "": there is none. Raises OSError."""
        token = self.token
        if self.token_file is not None:
            token = self.token_file.read_text().strip()
        if token:
            return f"Bearer {token}"
        if self.username:
            return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return ""


@dataclass(frozen=True, slots=True)
class Credentials:
    users: Mapping[str, Identity] = field(default_factory=dict)

    def of(self, host: str, port: int) -> Identity | None:
        if not self.users:
            return None
        target = f"{host}:{port}"
        return self._matching(target) or (self._matching(host) if target.endswith(_HTTPS) else None)

    def _matching(self, target: str) -> Identity | None:
        if target in self.users:
            return self.users[target]
        steps = target.split(".")
        names = ("*." + ".".join(steps[first:]) for first in range(1, len(steps)))
        return next((self.users[name] for name in names if name in self.users), None)
