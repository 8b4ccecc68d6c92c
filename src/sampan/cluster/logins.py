"""Credentials for ``sampan image pull``: given on the command line, or those that docker and podman keep for a user."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
from pathlib import Path

import orjson

from sampan.api.faults import fault
from sampan.api.imagenames import repository_of
from sampan.cluster.errors import ClusterError
from sampan.node.images import helpers
from sampan.node.images.keyring import BadPullSecretError, Credential, find_credentials
from sampan.node.runtime import RegistryAuth

_CONFIG_BYTES = 1 << 20
_HELPER = re.compile(r"[\w.-]+")
#: a helper may ask the person for his key, in a window
_HELPER_SECONDS = 60.0
_UNKNOWN = "credentials not found"


def of_user(username: str, password: bytes) -> Credential:
    """``password`` is a line. Raises ClusterError when there is none."""
    text = password.decode(errors="replace").rstrip("\r\n")
    if not text:
        raise ClusterError("standard input holds no password", fix='send one: `echo "$TOKEN" | sampan image pull …`')
    return Credential(RegistryAuth(username, text))


def of_docker(reference: str, path: Path | None = None) -> list[Credential]:
    """What a docker configuration holds for an image, or the helper that it names (``credHelpers``, ``credsStore``);
    nothing when there is none and none was asked for. Runs an event loop of its own. Raises ClusterError."""
    config = path or Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        with config.open("rb") as file:
            content = file.read(_CONFIG_BYTES)
    except OSError as error:
        if path is None:
            return []
        raise ClusterError(fault(error), fix="give the path of a docker config.json") from error
    repository = repository_of(reference)
    helper = _helper(content, repository.partition("/")[0])
    if helper:
        found = _of_helper(helper, repository.partition("/")[0])
        if found is not None:
            return [found]
    data = {".dockerconfigjson": base64.b64encode(content).decode()}
    secret = {"type": "kubernetes.io/dockerconfigjson", "data": data}
    try:
        listed = find_credentials(repository, [secret])
    except BadPullSecretError as error:
        raise ClusterError(f"{config}: {error}", fix="log in again, or give another with --docker-config") from error
    return [each for each in listed if each.auth.username or each.auth.password or each.auth.identity_token]


def _helper(content: bytes, host: str) -> str:
    """The last part of its program's name; "" where there is none."""
    try:
        config = orjson.loads(content)
    except ValueError:
        return ""  # told when its credentials are read
    if not isinstance(config, dict):
        return ""
    by_host = config.get("credHelpers")
    named = by_host.get(_server(host)) or by_host.get(host) if isinstance(by_host, dict) else None
    found = named or config.get("credsStore")
    return found if isinstance(found, str) and _HELPER.fullmatch(found) else ""


def _of_helper(name: str, host: str) -> Credential | None:
    """None: it knows none for this registry, or it is another machine's, whose configuration was copied."""
    program = f"docker-credential-{name}"
    if shutil.which(program) is None:
        return None
    try:
        said = asyncio.run(helpers.ask([program, "get"], _server(host).encode(), seconds=_HELPER_SECONDS))
    except helpers.HelperError as error:
        if _UNKNOWN in str(error):
            return None
        raise ClusterError(
            f"credentials for {host}: {error}", fix="mend the helper, or give --username NAME --password-stdin"
        ) from error
    try:
        answer = orjson.loads(said)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        username = secret = None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise ClusterError(
            f"credentials for {host}: the answer of {program} cannot be read",
            fix="mend the helper, or give --username NAME --password-stdin",
        )
    if username == "<token>":  # docker's word for an identity token
        return Credential(RegistryAuth(identity_token=secret))
    return Credential(RegistryAuth(username, secret))


def _server(host: str) -> str:
    """As docker has it in its configuration and asks helpers for it."""
    return "https://index.docker.io/v1/" if host == "docker.io" else host
