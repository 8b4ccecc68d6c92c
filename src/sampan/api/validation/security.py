"""Security contexts of pods and containers."""

from __future__ import annotations

import re

from sampan.api import errors
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_MAX_ID = 2**31 - 1
_SYSCTL_WORD = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = rf"({_SYSCTL_WORD}[\./])*{_SYSCTL_WORD}"
_SYSCTL_LENGTH = 253
#: kernel parameters that belong to the IPC namespace; those of the network's start with ``net.``
_SYSCTLS_OF_IPC = ("kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue.")


def _ids(context: Obj, path: str, *keys: str) -> Errors:
    return [
        errors.invalid(f"{path}.{key}", context[key], f"must be between 0 and {_MAX_ID}, inclusive")
        for key in keys
        if context.get(key) is not None and not 0 <= context[key] <= _MAX_ID
    ]


def _profile(profile: Obj | None, path: str) -> Errors:
    """seccompProfile and appArmorProfile: localhostProfile belongs to type Localhost and to no other."""
    if profile is None:
        return []
    found = common.one_of(profile.get("type"), ("Localhost", "RuntimeDefault", "Unconfined"), f"{path}.type", must=True)
    local = profile.get("localhostProfile")
    if profile.get("type") == "Localhost":
        if not local:
            text = "must be set when seccomp type is Localhost"
            found.append(errors.required(f"{path}.localhostProfile", text))
        else:
            found += common.non_absolute_descending(local, f"{path}.localhostProfile")
    elif local is not None:
        text = "can only be set when seccomp type is Localhost"
        found.append(errors.invalid(f"{path}.localhostProfile", profile, text))
    return found


def sysctl_with_dots(name: str) -> str:
    """A sysctl may be written as a path, ``net/ipv4/conf/eth0.1/forwarding``: then a dot is part of a word. Pure."""
    first = re.search("[./]", name)
    if first is None or first[0] == ".":
        return name
    return name.translate({ord("."): "/", ord("/"): "."})


def _sysctls(sysctls: list[Obj] | None, path: str, *, host_network: bool, host_ipc: bool) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls or ()):
        name, where = sysctl.get("name", ""), f"{path}[{index}].name"
        if not name:
            found.append(errors.required(where))
        elif len(name) > _SYSCTL_LENGTH or not re.fullmatch(_SYSCTL, name):
            text = f"must have at most {_SYSCTL_LENGTH} characters and match regex {_SYSCTL}"
            found.append(errors.invalid(where, name, text))
        elif name in seen:
            found.append(errors.duplicate(where, name))
        elif host_network and sysctl_with_dots(name).startswith("net."):
            found.append(errors.invalid(where, name, "may not be specified when 'hostNetwork' is true"))
        elif host_ipc and sysctl_with_dots(name).startswith(_SYSCTLS_OF_IPC):
            found.append(errors.invalid(where, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)
    return found


def pod_security_context(
    context: Obj | None, path: str, *, host_network: bool = False, host_ipc: bool = False
) -> Errors:
    if not context:
        return []
    found = _ids(context, path, "fsGroup", "runAsUser", "runAsGroup")
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= _MAX_ID:
            text = f"must be between 0 and {_MAX_ID}, inclusive"
            found.append(errors.invalid(f"{path}.supplementalGroups[{index}]", group, text))
    found += _sysctls(context.get("sysctls"), f"{path}.sysctls", host_network=host_network, host_ipc=host_ipc)
    policies = ("OnRootMismatch", "Always")
    found += common.one_of(context.get("fsGroupChangePolicy"), policies, f"{path}.fsGroupChangePolicy")
    policies = ("Merge", "Strict")
    found += common.one_of(context.get("supplementalGroupsPolicy"), policies, f"{path}.supplementalGroupsPolicy")
    found += _profile(context.get("seccompProfile"), f"{path}.seccompProfile")
    return found + _profile(context.get("appArmorProfile"), f"{path}.appArmorProfile")


def security_context(context: Obj | None, path: str, *, host_users: bool = True) -> Errors:
    if not context:
        return []
    found = _ids(context, path, "runAsUser", "runAsGroup")
    proc_mount = context.get("procMount")
    found += common.one_of(proc_mount, ("Default", "Unmasked"), f"{path}.procMount")
    if proc_mount == "Unmasked" and host_users:
        text = "`hostUsers` must be false to use `Unmasked`"
        found.append(errors.invalid(f"{path}.procMount", proc_mount, text))
    found += _profile(context.get("seccompProfile"), f"{path}.seccompProfile")
    found += _profile(context.get("appArmorProfile"), f"{path}.appArmorProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            found.append(errors.invalid(path, context, text))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            found.append(errors.invalid(path, context, text))
    return found
