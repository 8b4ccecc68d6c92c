"""Security contexts of pods and containers."""

from __future__ import annotations

from sampan.api import errors
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_MAX_ID = 2**31 - 1


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


def pod_security_context(context: Obj | None, path: str) -> Errors:
    if not context:
        return []
    found = _ids(context, path, "fsGroup", "runAsUser", "runAsGroup")
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= _MAX_ID:
            text = f"must be between 0 and {_MAX_ID}, inclusive"
            found.append(errors.invalid(f"{path}.supplementalGroups[{index}]", group, text))
    seen: set[str] = set()
    for index, sysctl in enumerate(context.get("sysctls") or ()):
        name = sysctl.get("name", "")
        if not name:
            found.append(errors.required(f"{path}.sysctls[{index}].name"))
        elif name in seen:
            found.append(errors.duplicate(f"{path}.sysctls[{index}].name", name))
        seen.add(name)
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
