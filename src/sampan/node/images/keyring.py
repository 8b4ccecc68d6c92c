"""Which credentials of a pod's pull secrets are for an image. Pure.

The rules are the kubelet's keyring: keys are registries as people spell them, with or without scheme, port, path and
wildcards; every key that fits is tried, in reverse order of the keys, so that a longer path comes before a shorter.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

import orjson

from sampan.api.types import Obj
from sampan.node import runtime
from sampan.records import dataclass

_DEFAULT_REGISTRY = "index.docker.io"
_HEAVY_CHARACTERS = 8192
_WILD = frozenset("*?[")
#: a longer one is for no label of a host, whatever it says: compiling it would cost more than it may
_PATTERN_CHARACTERS = 255
_TYPES = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}


class BadPullSecretError(ValueError):
    """What a Secret holds cannot be read as credentials; the message says what is wrong, and nothing of its content."""


@dataclass(frozen=True, slots=True)
class Credential:
    """``auth`` and the Secret or ServiceAccount it is from; ``hash`` tells whether it is the same as another, and
    nothing else. ``of_node``: it is the node's own, of every pod that runs there."""

    auth: runtime.RegistryAuth
    uid: str = ""
    namespace: str = ""
    name: str = ""
    of_node: bool = False

    @property
    def hash(self) -> str:
        told = [self.auth.username, self.auth.password]
        if self.auth.identity_token:
            told.append(self.auth.identity_token)
        return hashlib.sha256(orjson.dumps(told)).hexdigest()


def is_heavy(secrets: Sequence[Obj]) -> bool:
    """Whether looking through them takes more than some milliseconds, and so belongs into a thread."""
    values = (value for secret in secrets for value in (secret.get("data") or {}).values())
    return sum(len(value) for value in values if isinstance(value, str)) > _HEAVY_CHARACTERS


def find_credentials(repository: str, secrets: Sequence[Obj]) -> list[Credential]:
    """``repository`` is an image's name without tag. Raises BadPullSecretError."""
    keys: dict[str, list[Credential]] = {}
    for secret in secrets:
        for spelling, entry in _entries(secret).items():
            keys.setdefault(spelling, []).append(_credential(secret, entry))
    return select(repository, keys)


def select(repository: str, entries: Mapping[str, Sequence[Credential]]) -> list[Credential]:
    """Of credentials by registry, as people spell it, those for an image, the best first."""
    keys: dict[str, list[Credential]] = {}
    for spelling, credentials in entries.items():
        key = _key(spelling)
        if key is not None:
            keys.setdefault(key, []).extend(credentials)
    found = [each for key in sorted(keys, reverse=True) if _fits(key, repository) for each in keys[key]]
    if not found and repository.startswith(("docker.io/", f"{_DEFAULT_REGISTRY}/")):
        found = keys.get(_DEFAULT_REGISTRY, [])
    return list(dict.fromkeys(found))


def matches(pattern: str, repository: str) -> bool:
    """Whether an image is in a registry, as a provider's ``matchImages`` spells it."""
    return _fits(pattern, repository)


def _entries(secret: Obj) -> dict[str, Any]:
    """Spelling of a registry to its entry; nothing for a Secret of another type."""
    field = _TYPES.get(secret.get("type", ""), "")
    data = (secret.get("data") or {}).get(field)
    if not data:
        return {}
    try:
        parsed = orjson.loads(base64.b64decode(data))
    except ValueError:
        raise BadPullSecretError(f"the data of {field} is not JSON") from None
    if field == ".dockerconfigjson":
        parsed = parsed.get("auths") if isinstance(parsed, dict) else parsed
    if parsed is None:
        return {}
    if not isinstance(parsed, dict) or not all(isinstance(entry, dict | None) for entry in parsed.values()):
        raise BadPullSecretError(f"the data of {field} is not a map from registries to credentials")
    return {spelling: entry or {} for spelling, entry in parsed.items()}


def _credential(secret: Obj, entry: dict[str, Any]) -> Credential:
    username, password, auth, token = (
        entry.get(name) or "" for name in ("username", "password", "auth", "identitytoken")
    )
    if not all(isinstance(value, str) for value in (username, password, auth, token)):
        raise BadPullSecretError("username, password, auth and identitytoken must be strings")
    if auth:
        username, password = _decode_auth(auth)
    if token:  # what stands beside it is a placeholder: runtimes take a user name before a token
        username = password = ""
    meta = secret.get("metadata") or {}
    # No server address: a runtime takes the credentials for the registry of the image then, whatever its spelling.
    return Credential(
        runtime.RegistryAuth(username, password, identity_token=token),
        meta.get("uid", ""),
        meta.get("namespace", ""),
        meta.get("name", ""),
    )


def _decode_auth(text: str) -> tuple[str, str]:
    text = text.replace("\n", "").replace("\r", "")
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode(errors="replace")
    except ValueError:  # binascii.Error, and what is not ASCII
        raise BadPullSecretError("unable to parse auth field, it is not base64") from None
    username, colon, password = decoded.partition(":")
    if not colon:
        raise BadPullSecretError("unable to parse auth field, must be formatted as base64(username:password)")
    return username, password


def _key(spelling: str) -> str | None:
    """Host and path, without the scheme and what stands for the registry's API. None: no address at all."""
    url = _split(spelling if spelling.startswith(("https://", "http://")) else f"https://{spelling}")
    if url is None:
        return None
    path = re.sub(r"^/v[12]/", "/", url.path)
    return url.netloc if path in ("", "/") else url.netloc + path


def _split(url: str) -> SplitResult | None:
    try:
        found = urlsplit(url)
        found.port  # noqa: B018 (raises for what is no port)
    except ValueError:
        return None
    return found


def _fits(key: str, repository: str) -> bool:
    """Same port; as many labels of the host, each matching its pattern; the path begins with the key's."""
    wanted, asked = _split(f"https://{key}"), _split(f"https://{repository}")
    if wanted is None or asked is None or wanted.port != asked.port or not asked.path.startswith(wanted.path):
        return False
    patterns, labels = _labels(wanted), _labels(asked)
    return len(patterns) == len(labels) and all(
        _matches(pattern, label) for pattern, label in zip(patterns, labels, strict=True)
    )


def _labels(url: SplitResult) -> list[str]:
    return re.sub(r":[0-9]+$", "", url.netloc).split(".")


def _matches(pattern: str, label: str) -> bool:
    if _WILD.isdisjoint(pattern):
        return pattern == label
    return len(pattern) <= _PATTERN_CHARACTERS and _compiled(pattern).match(label) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern.replace("[^", "[!")))
