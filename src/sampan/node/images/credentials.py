"""Registry credentials from imagePullSecrets. Pure, but for reading the Secrets through the given source."""

from __future__ import annotations

import base64
import binascii
import logging

import orjson

from sampan.api.errors import ApiError
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.env.sources import ObjectSource
from sampan.node.images.manager import normalize_reference

log = logging.getLogger(__name__)


def parse_docker_config(secret: Obj) -> dict[str, Obj]:
    """Registry host (or host/path) to its entry, of a dockerconfigjson or dockercfg Secret. Raises ValueError."""
    data = secret.get("data") or {}
    if ".dockerconfigjson" in data:
        entries = orjson.loads(base64.b64decode(data[".dockerconfigjson"])).get("auths") or {}
    elif ".dockercfg" in data:
        entries = orjson.loads(base64.b64decode(data[".dockercfg"]))
    else:
        return {}
    return {_registry(name): entry for name, entry in entries.items()}


def _registry(name: str) -> str:
    name = name.removeprefix("https://").removeprefix("http://").rstrip("/")
    name = name.removesuffix("/v1").removesuffix("/v2")
    return "docker.io" if name in ("index.docker.io", "registry-1.docker.io") else name


def matching_auths(image: str, configs: list[dict[str, Obj]]) -> list[runtime.RegistryAuth]:
    """What fits the image's registry, the longest match first."""
    try:
        reference = normalize_reference(image)
    except ValueError:
        return []
    found = []
    for config in configs:
        for name, entry in config.items():
            if reference == name or reference.startswith((f"{name}/", f"{name}:")):
                found.append((len(name), _auth(name, entry)))
    return [auth for _, auth in sorted(found, key=lambda item: -item[0])]


def _auth(server: str, entry: Obj) -> runtime.RegistryAuth:
    username, password = entry.get("username", ""), entry.get("password", "")
    if not username and entry.get("auth"):
        username, _, password = base64.b64decode(entry["auth"]).decode(errors="replace").partition(":")
    return runtime.RegistryAuth(username, password, "", server, entry.get("identitytoken", ""))


async def pull_auths(pod: Obj, image: str, source: ObjectSource) -> list[runtime.RegistryAuth]:
    """A Secret that is missing or not readable is skipped, as upstream: the pull may work without it."""
    configs = []
    for reference in pod["spec"].get("imagePullSecrets") or ():
        try:
            secret = await source.get_secret(pod["metadata"]["namespace"], reference["name"])
            configs.append(parse_docker_config(secret))
        except (ApiError, ValueError, binascii.Error) as error:
            log.info("pull secret %s of pod %s: %s", reference.get("name"), pod["metadata"]["name"], error)
    return matching_auths(image, configs) if configs else []
