"""The kubelet's CredentialProviderConfig: which programs know credentials for which images. Pure but for ``load``.

Checks, their order and their words are the kubelet's (v1.37, pkg/credentialprovider/plugin).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from sampan.api import durations
from sampan.api.faults import cause
from sampan.api.types import Obj
from sampan.records import dataclass

_GROUP = "kubelet.config.k8s.io"
_VERSIONS = tuple(f"credentialprovider.kubelet.k8s.io/{each}" for each in ("v1", "v1alpha1", "v1beta1"))
_CACHE_TYPES = ("ServiceAccount", "Token")
_FILE_BYTES = 1 << 20


class ProviderConfigError(ValueError):
    """The message says where and what."""


@dataclass(frozen=True, slots=True)
class TokenAttributes:
    """A provider that works with a token of the pod's ServiceAccount (KEP-4412)."""

    audience: str
    cache_type: Literal["ServiceAccount", "Token"]
    require_account: bool
    required_annotations: tuple[str, ...] = ()
    optional_annotations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Provider:
    name: str
    program: Path
    api_version: str
    match_images: tuple[str, ...]
    cache_seconds: float
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    token: TokenAttributes | None = None


def load(config: Path, programs: Path) -> list[Provider]:
    """A file, or a directory of .json, .yaml and .yml files in order. Raises ProviderConfigError."""
    if not programs.is_dir():
        raise ProviderConfigError(f"plugin binary directory {programs} did not exist")
    found: dict[str, Provider] = {}
    for path in _files(config):
        try:
            with path.open("rb") as file:
                document = yaml.safe_load(file.read(_FILE_BYTES))
        except OSError as error:
            raise ProviderConfigError(f"unable to read file {path}: {cause(error)}") from error
        except (yaml.YAMLError, ValueError):
            raise ProviderConfigError(f"{path} is neither YAML nor JSON") from None
        try:
            listed = parse(document, programs)
        except ProviderConfigError as error:
            raise ProviderConfigError(f"{path}: {error}") from None
        for provider in listed:
            if provider.name in found:
                raise ProviderConfigError(f'duplicate provider name "{provider.name}" found in configuration file(s)')
            if not os.access(provider.program, os.X_OK) or not provider.program.is_file():
                raise ProviderConfigError(f"plugin binary executable {provider.program} did not exist")
            found[provider.name] = provider
    return list(found.values())


def _files(config: Path) -> list[Path]:
    if not config.is_dir():
        return [config]
    found = sorted(path for path in config.iterdir() if path.suffix in (".json", ".yaml", ".yml") and path.is_file())
    if not found:
        raise ProviderConfigError(f"no configuration files found in directory {config}")
    return found


def parse(document: Any, programs: Path) -> list[Provider]:
    """Raises ProviderConfigError with all that is wrong."""
    if not isinstance(document, dict) or document.get("kind") != "CredentialProviderConfig":
        raise ProviderConfigError("it is no CredentialProviderConfig")
    group, _, version = str(document.get("apiVersion")).partition("/")
    if group != _GROUP or version not in ("v1", "v1beta1", "v1alpha1"):
        raise ProviderConfigError(f"apiVersion is not {_GROUP}/v1")
    listed = document.get("providers") or []
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise ProviderConfigError("providers: is no list of objects")
    faults = [] if listed else ["providers: Required value: at least 1 item in plugins is required"]
    seen: set[str] = set()
    for each in listed:
        faults += _faults(each, seen)
        seen.add(str(each.get("name")))
    if faults:
        raise ProviderConfigError(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")
    return [_provider(each, programs) for each in listed]


def _faults(entry: Obj, seen: set[str]) -> Iterator[str]:
    name = entry.get("name") or ""
    if not isinstance(name, str) or not name or "\0" in name:
        yield "providers.name: Required value"
        name = ""
    for sign, words in (("/", "'/'"), (" ", "spaces")):
        if sign in name:
            yield f'providers.name: Invalid value: "{name}": provider name cannot contain {words}'
    if name in (".", ".."):
        yield f"providers.name: Invalid value: \"{name}\": provider name cannot be '{name}'"
    if name in seen:
        yield f'providers.name: Duplicate value: "{name}"'
    version = entry.get("apiVersion")
    if not version:
        yield "providers.apiVersion: Required value"
    elif version not in _VERSIONS:
        supported = ", ".join(f'"{each}"' for each in _VERSIONS)
        yield f'providers.apiVersion: Unsupported value: "{version}": supported values: {supported}'
    if not _are_strings(entry.get("matchImages")) or not entry.get("matchImages"):
        yield "providers.matchImages: Required value: at least 1 item in matchImages is required"
    yield from _duration_faults(entry.get("defaultCacheDuration"))
    if not _are_strings(entry.get("args") or []):
        yield "providers.args: is no list of texts"
    if not _is_environment(entry.get("env") or []):
        yield "providers.env: is no list of names and values"
    if entry.get("tokenAttributes") is not None:
        yield from _token_faults(entry["tokenAttributes"], str(version))


def _duration_faults(value: Any) -> Iterator[str]:
    where = "providers.defaultCacheDuration"
    if value is None:
        yield f"{where}: Required value"
        return
    try:
        if durations.parse(value if isinstance(value, str) else "") < 0:
            yield f'{where}: Invalid value: "{value}": must be greater than or equal to 0'
    except ValueError:
        yield f"{where}: Invalid value: is no duration such as 12h"


def _token_faults(value: Any, version: str) -> Iterator[str]:
    where = "providers.tokenAttributes"
    if not isinstance(value, dict):
        yield f"{where}: is no object"
        return
    required, optional = (value.get(f"{kind}ServiceAccountAnnotationKeys") or [] for kind in ("required", "optional"))
    if not _are_strings(required) or not _are_strings(optional):
        yield f"{where}: annotation keys are no lists of texts"
        return
    if not value.get("serviceAccountTokenAudience"):
        yield f"{where}.serviceAccountTokenAudience: Required value"
    if value.get("requireServiceAccount") is None:
        yield f"{where}.requireServiceAccount: Required value"
    if version != _VERSIONS[0]:
        yield f"{where}: Forbidden: tokenAttributes is only supported for {_VERSIONS[0]} API version"
    if value.get("requireServiceAccount") is False and required:
        yield (
            f"{where}.requiredServiceAccountAnnotationKeys: Forbidden: requireServiceAccount cannot be false when "
            "requiredServiceAccountAnnotationKeys is set"
        )
    if set(required) & set(optional):
        yield f"{where}: Invalid value: annotation keys cannot be both required and optional"
    kind = value.get("cacheType")
    if not kind:
        yield (
            f"{where}.cacheType: Required value: cacheType is required to be set when tokenAttributes is specified. "
            f"Supported values are: {', '.join(_CACHE_TYPES)}"
        )
    elif kind not in _CACHE_TYPES:
        supported = ", ".join(f'"{each}"' for each in _CACHE_TYPES)
        yield f'{where}.cacheType: Unsupported value: "{kind}": supported values: {supported}'


def _provider(entry: Obj, programs: Path) -> Provider:
    token = entry.get("tokenAttributes")
    return Provider(
        name=entry["name"],
        program=programs / entry["name"],
        api_version=entry["apiVersion"],
        match_images=tuple(entry["matchImages"]),
        cache_seconds=durations.parse(entry["defaultCacheDuration"]),
        args=tuple(entry.get("args") or ()),
        env=tuple((each["name"], each.get("value") or "") for each in entry.get("env") or ()),
        token=None
        if token is None
        else TokenAttributes(
            audience=str(token["serviceAccountTokenAudience"]),
            cache_type=token["cacheType"],
            require_account=bool(token["requireServiceAccount"]),
            required_annotations=tuple(token.get("requiredServiceAccountAnnotationKeys") or ()),
            optional_annotations=tuple(token.get("optionalServiceAccountAnnotationKeys") or ()),
        ),
    )


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_environment(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, Mapping) and isinstance(each.get("name"), str) and isinstance(each.get("value", ""), str)
        for each in value
    )
