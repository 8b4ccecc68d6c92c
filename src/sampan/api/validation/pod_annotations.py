"""Annotations of pods that mean something to the API: profiles, tolerations, deletion cost, mirror pods."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any, Final

import orjson

from sampan.api import errors
from sampan.api.errors import quoted
from sampan.api.types import Obj
from sampan.api.validation import common, scheduling
from sampan.api.validation.common import Errors
from sampan.api.validation.options import Options

MIRROR: Final = "kubernetes.io/config.mirror"
TOLERATIONS: Final = "scheduler.alpha.kubernetes.io/tolerations"
_TOLERATION: Final = ("key", "operator", "value", "effect", "tolerationSeconds")
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"
APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"

_COST: Final = re.compile(r"-[0-9]+|0|[1-9][0-9]*", re.ASCII)
_LOCALHOST: Final = "localhost/"
#: what the annotation says for each type of profile but Localhost
_SECCOMP: Final = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default", "docker/default")}
_APPARMOR: Final = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default",)}


def check(
    values: Mapping[str, str], spec: Obj, path: str, containers: list[tuple[Obj, str]], options: Options
) -> Errors:
    """``containers``: all of the pod."""
    found: Errors = []
    if MIRROR in values and not spec.get("nodeName"):
        text = "must set spec.nodeName if mirror pod annotation is set"
        found.append(errors.invalid(f"{path}[{MIRROR}]", values[MIRROR], text))
    if values.get(TOLERATIONS):
        found += _tolerations(values[TOLERATIONS], path, options)
    if DELETION_COST in values and not options.invalid_deletion_cost and deletion_cost(values[DELETION_COST]) is None:
        found.append(errors.invalid(f"{path}[{DELETION_COST}]", values[DELETION_COST], "must be a 32bit integer"))
    if SECCOMP_POD in values:
        found += _seccomp(values[SECCOMP_POD], f"{path}.{SECCOMP_POD}")
    for key, value in values.items():
        if key.startswith(SECCOMP_CONTAINER):
            found += _seccomp(value, f"{path}.{key}")
    known = {container.get("name") for container, _ in containers}
    for key, value in values.items():
        if key.startswith(APPARMOR):
            found += _apparmor(key.removeprefix(APPARMOR), value, f"{path}[{key}]", known)
    return found


def _tolerations(text: str, path: str, options: Options) -> Errors:
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = ""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) and _fits(each) for each in value):
        return [errors.invalid(path, TOLERATIONS, "must be a JSON list of tolerations")]
    sound = [{key: item for key, item in each.items() if item is not None} for each in value]
    where = f"{path}.{TOLERATIONS}"
    return scheduling.tolerations(sound, where, comparing=options.comparing_tolerations)


def _fits(toleration: Obj) -> bool:
    """Whether all that is known of it has its type."""
    return all(
        item is None or type(item) is (int if key == "tolerationSeconds" else str)
        for key, item in toleration.items()
        if key in _TOLERATION
    )


def deletion_cost(text: str) -> int | None:
    """None: it is none."""
    if not _COST.fullmatch(text) or len(text) > 11:
        return None
    cost = int(text)
    return cost if -(2**31) <= cost < 2**31 else None


def _seccomp(profile: str, path: str) -> Errors:
    if profile in ("runtime/default", "docker/default", "unconfined"):
        return []
    if profile.startswith(_LOCALHOST):
        return common.non_absolute_descending(profile.removeprefix(_LOCALHOST), path)
    return [errors.invalid(path, profile, "must be a valid seccomp profile")]


def _apparmor(name: str, profile: str, path: str, known: Set[str | None]) -> Errors:
    """``known``: the names of the pod's containers."""
    found: Errors = []
    if name not in known:
        found.append(errors.invalid(path, name, "container not found"))
    if profile not in ("", "runtime/default", "unconfined") and not profile.startswith(_LOCALHOST):
        text = f"invalid AppArmor profile name: {quoted(profile)}"
        found.append(errors.invalid(path, profile, text))
    return found


def seccomp_matches(values: Mapping[str, str], spec: Obj, path: str, containers: list[tuple[Obj, str]]) -> Errors:
    """What annotations and fields both say of seccomp is the same. ``path``: of the spec."""
    found: Errors = []
    for key, holder, where in (
        (SECCOMP_POD, spec, path),
        *((SECCOMP_CONTAINER + each.get("name", ""), each, place) for each, place in containers),
    ):
        profile = (holder.get("securityContext") or {}).get("seccompProfile")
        if key in values and profile is not None:
            found += _match(values[key], profile, f"{where}.securityContext.seccompProfile", "seccomp", _SECCOMP)
    return found


def apparmor_matches(values: Mapping[str, str], spec: Obj, containers: list[tuple[Obj, str]]) -> Errors:
    """The same of AppArmor, of a pod that is made; not of those for Windows."""
    if (spec.get("os") or {}).get("name") == "windows":
        return []
    found: Errors = []
    of_pod = (spec.get("securityContext") or {}).get("appArmorProfile")
    for container, path in containers:
        profile = (container.get("securityContext") or {}).get("appArmorProfile") or of_pod
        key = APPARMOR + container.get("name", "")
        if profile is not None and key in values:
            where = f"{path}.securityContext.appArmorProfile"
            found += _match(values[key], profile, where, "apparmor", _APPARMOR)
    return found


def _match(said: str, profile: Obj, path: str, what: str, plain: Mapping[str, tuple[str, ...]]) -> Errors:
    kind = profile.get("type", "")
    if kind == "Localhost":
        if said.startswith(_LOCALHOST):
            if said.removeprefix(_LOCALHOST) == profile.get("localhostProfile"):
                return []
            text = f"{what} profile in annotation and field must match"
            return [errors.forbidden(f"{path}.localhostProfile", text)]
    elif kind not in plain or said in plain[kind]:
        return []
    return [errors.forbidden(f"{path}.type", f"{what} type in annotation and field must match")]


def annotation_updates(new: Mapping[str, str], old: Mapping[str, str], path: str) -> Errors:
    """Who a pod is by its annotations stays so."""
    found: Errors = []
    for key in old:
        if new.get(key) != old[key] and (what := _what(key)):
            found.append(errors.forbidden(f"{path}[{key}]", f"may not remove or update {what}"))
    for key in new:
        if key not in old and (what := _what(key)):
            found.append(errors.forbidden(f"{path}[{key}]", f"may not add {what}"))
    return found


def _what(key: str) -> str:
    if key.startswith(APPARMOR):
        return "AppArmor annotations"
    return "mirror pod annotation" if key == MIRROR else ""


def apparmor_field(annotation: str) -> Obj | None:
    """The profile that an annotation means; None: none."""
    for kind, (said,) in _APPARMOR.items():
        if annotation == said:
            return {"type": kind}
    if annotation.startswith(_LOCALHOST) and annotation != _LOCALHOST:
        return {"type": "Localhost", "localhostProfile": annotation.removeprefix(_LOCALHOST)}
    return None


def apparmor_annotation(profile: Obj) -> str:
    kind = profile.get("type", "")
    if kind == "Localhost" and profile.get("localhostProfile") is not None:
        return _LOCALHOST + str(profile["localhostProfile"])
    return _APPARMOR[kind][0] if kind in _APPARMOR else ""
