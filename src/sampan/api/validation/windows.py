"""Pods for Windows and for Linux: what each may not say, and whom a Windows container runs as."""

from __future__ import annotations

import re
from typing import Final

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_SPEC_KIB: Final = 64
_DOMAIN: Final = 256
_USER: Final = 104
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
_NET_BIOS: Final = re.compile(r'^[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}$')
_DNS_LABEL: Final = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DNS: Final = re.compile(rf"^{_DNS_LABEL}(?:\.{_DNS_LABEL})*$")
_NOT_IN_USERS: Final = re.compile(r'["/\\:;|=,\+\*\?<>@\[\]]')
_ONLY_DOTS: Final = re.compile(r"^[\. ]+$")

_FORBIDDEN: Final = "cannot be set for a windows pod"
#: of the pod: fields of the security context, and of the spec, in the order of the messages
_POD_FIELDS: Final = (
    "securityContext.appArmorProfile", "securityContext.seLinuxOptions", "hostUsers", "hostPID", "hostIPC",
    "securityContext.seccompProfile", "securityContext.fsGroup", "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls", "shareProcessNamespace", "securityContext.runAsUser", "securityContext.runAsGroup",
    "securityContext.supplementalGroups", "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
)  # fmt: skip
_CONTAINER_FIELDS: Final = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip


def operating_system(spec: Obj, path: str, containers: list[tuple[Obj, str]]) -> Errors:
    """``containers``: all of the pod, each with its path."""
    name = spec["os"].get("name", "")
    if not name:
        return [errors.required(f"{path}.os.name")]
    if name == "linux":
        return _linux(spec, path, containers)
    if name == "windows":
        return _windows(spec, path, containers)
    return [errors.not_supported(f"{path}.os", name, ("linux", "windows"))]


def _linux(spec: Obj, path: str, containers: list[tuple[Obj, str]]) -> Errors:
    places = [(spec, path), *containers]
    return [
        errors.forbidden(f"{where}.securityContext.windowsOptions", "windows options cannot be set for a linux pod")
        for holder, where in places
        if (holder.get("securityContext") or {}).get("windowsOptions") is not None
    ]


def _windows(spec: Obj, path: str, containers: list[tuple[Obj, str]]) -> Errors:
    found: Errors = []
    context = spec.get("securityContext") or {}
    for field in _POD_FIELDS:
        holder, _, key = field.rpartition(".")
        value = (context if holder else spec).get(key)
        # These three are no pointers in Go: there is no telling what is empty from what is absent.
        if value is not None and (value or key not in ("sysctls", "hostPID", "hostIPC")):
            found.append(errors.forbidden(f"{path}.{field}", _FORBIDDEN))
    for container, where in containers:
        own = container.get("securityContext") or {}
        for key in _CONTAINER_FIELDS:
            if own.get(key) is not None:
                found.append(errors.forbidden(f"{where}.securityContext.{key}", _FORBIDDEN))
    return found


def host_processes(spec: Obj, path: str, containers: list[tuple[Obj, str]]) -> Errors:
    """A pod is of host processes altogether, or not at all; if it is, it has the host's network."""

    def own(holder: Obj) -> bool | None:
        value: bool | None = ((holder.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
        return value

    of_pod = own(spec)
    found: Errors = []
    count = 0
    for container, where in containers:
        of_container = own(container)
        if of_pod is not None and of_container is not None and of_pod != of_container:
            shown = "true" if of_pod else "false"
            text = f"pod hostProcess value must be identical if both are specified, was {shown}"
            place = f"{where}.securityContext.windowsOptions.hostProcess"
            found.append(errors.invalid(place, of_container, text))
        count += bool(of_pod if of_container is None else of_container)
    if not count:
        return found
    if count != len(containers):
        text = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        found.append(errors.invalid(path, "", text))
    if not spec.get("hostNetwork"):
        text = "hostNetwork must be true if pod contains any hostProcess containers"
        found.append(errors.invalid(f"{path}.hostNetwork", False, text))
    return found


def options(value: Obj | None, path: str) -> Errors:
    """``windowsOptions``."""
    if value is None:
        return []
    found: Errors = []
    name, spec, user = value.get("gmsaCredentialSpecName"), value.get("gmsaCredentialSpec"), value.get("runAsUserName")
    if name is not None:
        found += common.named(names.dns1123_subdomain, name, f"{path}.gmsaCredentialSpecName")
    if spec is not None:
        where = f"{path}.gmsaCredentialSpec"
        if not spec:
            found.append(errors.invalid(where, spec, "gmsaCredentialSpec cannot be an empty string"))
        elif len(spec.encode()) > _SPEC_KIB * 1024:
            found.append(errors.invalid(where, spec, f"gmsaCredentialSpec size must be under {_SPEC_KIB} KiB"))
    if user is not None:
        found += [errors.invalid(f"{path}.runAsUserName", user, text) for text in _user_problems(user)]
    return found


def _user_problems(name: str) -> list[str]:
    if not name:
        return ["runAsUserName cannot be an empty string"]
    if _CONTROL.search(name):
        return ["runAsUserName cannot contain control characters"]
    if name.count("\\") > 1:
        return ["runAsUserName cannot contain more than one backslash"]
    domain, backslash, user = name.rpartition("\\")
    problems: list[str] = []
    if len(domain) >= _DOMAIN:
        problems.append(f"runAsUserName's Domain length must be under {_DOMAIN} characters")
    if backslash and not (_NET_BIOS.search(domain) or _DNS.search(domain)):
        problems.append("runAsUserName's Domain doesn't match the NetBios nor the DNS format")
    if not user:
        problems.append("runAsUserName's User cannot be empty")
    elif len(user) > _USER:
        problems.append(f"runAsUserName's User length must not be longer than {_USER} characters")
    if _ONLY_DOTS.search(user):
        problems.append("runAsUserName's User cannot contain only periods or spaces")
    if _NOT_IN_USERS.search(user):
        problems.append("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return problems
