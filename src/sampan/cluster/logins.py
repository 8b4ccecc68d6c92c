"""Credentials for ``sampan image pull``: given on the command line, or those that docker and podman keep for a user."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from sampan.api.faults import fault
from sampan.api.imagenames import repository_of
from sampan.cluster.errors import ClusterError
from sampan.node.images.keyring import BadPullSecretError, Credential, find_credentials
from sampan.node.runtime import RegistryAuth

_CONFIG_BYTES = 1 << 20


def of_user(username: str, password: bytes) -> Credential:
    """``password`` is a line. Raises ClusterError when there is none."""
    text = password.decode(errors="replace").rstrip("\r\n")
    if not text:
        raise ClusterError("standard input holds no password", fix='send one: `echo "$TOKEN" | sampan image pull …`')
    return Credential(RegistryAuth(username, text))


def of_docker(reference: str, path: Path | None = None) -> list[Credential]:
    """What a docker configuration holds for an image; nothing when there is none and none was asked for.

    Credential helpers are not asked: their entries are empty here.
    """
    config = path or Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        with config.open("rb") as file:
            content = file.read(_CONFIG_BYTES)
    except OSError as error:
        if path is None:
            return []
        raise ClusterError(fault(error), fix="give the path of a docker config.json") from error
    data = {".dockerconfigjson": base64.b64encode(content).decode()}
    secret = {"type": "kubernetes.io/dockerconfigjson", "data": data}
    try:
        found = find_credentials(repository_of(reference), [secret])
    except BadPullSecretError as error:
        raise ClusterError(f"{config}: {error}", fix="log in again, or give another with --docker-config") from error
    return [each for each in found if each.auth.username or each.auth.password]
