"""Security contexts of pods and containers."""

from __future__ import annotations

import re
from typing import Final

from sampan.api import errors
from sampan.api.types import Obj
from sampan.api.validation import common, go_values, windows
from sampan.api.validation.common import Errors
from sampan.api.validation.options import TEMPLATE, Options

_MAX_ID: Final = 2**31 - 1
_ID: Final = f"must be between 0 and {_MAX_ID}, inclusive"
_SYSCTL_WORD = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = rf"({_SYSCTL_WORD}[\./])*{_SYSCTL_WORD}"
_SYSCTL_LENGTH = 253
#: kernel parameters that belong to the IPC namespace; those of the network's start with ``net.``
_SYSCTLS_OF_IPC = ("kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue.")
_PROFILES: Final = ("Localhost", "RuntimeDefault", "Unconfined")
_LONGEST_PROFILE: Final = 4095


def _ids(context: Obj, path: str, *keys: str) -> Errors:
    return [
        errors.invalid(f"{path}.{key}", context[key], _ID)
        for key in keys
        if context.get(key) is not None and not 0 <= context[key] <= _MAX_ID
    ]


def _seccomp(profile: Obj | None, path: str) -> Errors:
    """localhostProfile belongs to type Localhost and to no other."""
    if profile is None:
        return []
    found: Errors = []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if not kind:
        found.append(errors.required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILES:
        found.append(errors.not_supported(f"{path}.type", kind, _PROFILES))
    if kind == "Localhost":
        if local is None:
            text = "must be set when seccomp type is Localhost"
            found.append(errors.required(f"{path}.localhostProfile", text))
        else:
            found += common.non_absolute_descending(local, f"{path}.localhostProfile")
    elif local is not None:
        shown, text = (
            go_values.struct(profile, go_values.of_pods("SeccompProfile")),
            "can only be set when seccomp type is Localhost",
        )
        found.append(errors.invalid(f"{path}.localhostProfile", shown, text))
    return found


def apparmor_profile(profile: Obj | None, path: str) -> Errors:
    if profile is None:
        return []
    kind, local, where = profile.get("type", ""), profile.get("localhostProfile"), f"{path}.localhostProfile"
    if kind == "Localhost":
        return _apparmor_name(local, where)
    if not kind:
        return [errors.required(f"{path}.type", "type is required when appArmorProfile is set")]
    if kind not in _PROFILES:
        return [errors.not_supported(f"{path}.type", kind, _PROFILES)]
    if local is not None:
        return [errors.invalid(where, local, "can only be set when AppArmor type is Localhost")]
    return []


def _apparmor_name(name: str | None, path: str) -> Errors:
    found: Errors = []
    if name is None:
        return [errors.required(path, "must be set when AppArmor type is Localhost")]
    if name.strip() != name:
        found.append(errors.invalid(path, name, "must not be padded with whitespace"))
    elif not name:
        found.append(errors.required(path, "must be set when AppArmor type is Localhost"))
    if len(name.encode()) > _LONGEST_PROFILE:
        found.append(errors.too_long(path, _LONGEST_PROFILE))
    return found


def sysctl_with_dots(name: str) -> str:
    """A sysctl may be written as a path, ``net/ipv4/conf/eth0.1/forwarding``: then a dot is part of a word. Pure."""
    first = re.search("[./]", name)
    if first is None or first[0] == ".":
        return name
    return name.translate({ord("."): "/", ord("/"): "."})


def sysctl_of_host(name: str, *, host_network: bool, host_ipc: bool) -> str:
    """What a sysctl would change on the host, because the pod has no such namespace of its own; "": nothing."""
    if host_network and sysctl_with_dots(name).startswith("net."):
        return "may not be specified when 'hostNetwork' is true"
    if host_ipc and sysctl_with_dots(name).startswith(_SYSCTLS_OF_IPC):
        return "may not be specified when 'hostIPC' is true"
    return ""


def _sysctls(sysctls: list[Obj], path: str, spec: Obj, options: Options) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    host_network, host_ipc = bool(spec.get("hostNetwork")), bool(spec.get("hostIPC"))
    for index, sysctl in enumerate(sysctls):
        name, where = sysctl.get("name", ""), f"{path}[{index}].name"
        if not name:
            found.append(errors.required(where))
        elif len(name) > _SYSCTL_LENGTH or not re.fullmatch(_SYSCTL, name):
            text = f"must have at most {_SYSCTL_LENGTH} characters and match regex ^{_SYSCTL}$"
            found.append(errors.invalid(where, name, text))
        elif name in seen:
            found.append(errors.duplicate(where, name))
        if not options.host_sysctls and (host_network or host_ipc):
            text = sysctl_of_host(name, host_network=host_network, host_ipc=host_ipc)
            if text:
                found.append(errors.invalid(where, name, text))
        seen.add(name)
    return found


def pod_security_context(context: Obj | None, path: str, spec: Obj, options: Options = TEMPLATE) -> Errors:
    """``spec``: the pod's, where the namespaces that it shares with the host are said."""
    found: Errors = []
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        found.append(errors.invalid(f"{path}.shareProcessNamespace", True, text))
    if not context:
        return found
    found = _ids(context, path, "fsGroup", "runAsUser", "runAsGroup") + [
        errors.invalid(f"{path}.supplementalGroups[{index}]", group, _ID)
        for index, group in enumerate(context.get("supplementalGroups") or ())
        if not 0 <= group <= _MAX_ID
    ] + found  # fmt: skip
    if context.get("sysctls"):
        found += _sysctls(context["sysctls"], f"{path}.sysctls", spec, options)
    found += _one_of(context, path, "fsGroupChangePolicy", ("Always", "OnRootMismatch"))
    found += _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    found += windows.options(context.get("windowsOptions"), f"{path}.windowsOptions")
    found += apparmor_profile(context.get("appArmorProfile"), f"{path}.appArmorProfile")
    found += _one_of(context, path, "supplementalGroupsPolicy", ("Merge", "Strict"))
    return found + _one_of(context, path, "seLinuxChangePolicy", ("MountOption", "Recursive"))


def _one_of(context: Obj, path: str, key: str, supported: tuple[str, ...]) -> Errors:
    value = context.get(key)
    return [] if value is None or value in supported else [errors.not_supported(f"{path}.{key}", value, supported)]


def security_context(context: Obj, path: str, *, host_users: bool = True) -> Errors:
    found = _ids(context, path, "runAsUser", "runAsGroup")
    found += _one_of(context, path, "procMount", ("Default", "Unmasked"))
    if context.get("procMount") == "Unmasked" and host_users:
        text = "`hostUsers` must be false to use `Unmasked`"
        found.append(errors.invalid(f"{path}.procMount", "Unmasked", text))
    found += _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        found += _no_escalation(context, path)
    found += windows.options(context.get("windowsOptions"), f"{path}.windowsOptions")
    return found + apparmor_profile(context.get("appArmorProfile"), f"{path}.appArmorProfile")


def _no_escalation(context: Obj, path: str) -> Errors:
    texts = ["`privileged` to true"] if context.get("privileged") else []
    added = (context.get("capabilities") or {}).get("add") or ()
    texts += ["`capabilities.Add` CAP_SYS_ADMIN" for capability in added if capability == "CAP_SYS_ADMIN"]
    if not texts:
        return []
    shown = errors.Verbatim(errors.quoted(go_values.struct(context, go_values.of_pods("SecurityContext"))))
    return [
        errors.invalid(path, shown, f"cannot set `allowPrivilegeEscalation` to false and {text}")
        for text in texts[: errors.MOST_CAUSES]
    ]
