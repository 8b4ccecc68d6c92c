"""Which checks make a level in which version of the rules, and what they say of a pod.

Each row is a check: from the minor version on that stands beside it; a later row of the same name replaces it. Of the
level ``restricted`` a check may stand in for one of ``baseline`` that it contains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from sampan.api.podsecurity import baseline, restricted
from sampan.api.podsecurity.findings import Check, Finding, Subject, skipping
from sampan.api.podsecurity.policies import LATEST, Standard
from sampan.api.types import Obj


def _windows(check: Check) -> Check:
    return skipping(check, lambda subject: subject.is_windows)


def _own_users(check: Check) -> Check:
    """A pod in a user namespace of its own may be root there (KEP-127)."""
    return skipping(check, lambda subject: subject.has_user_namespace)


_Rows = Mapping[str, Sequence[tuple[int, Check]]]
_BASELINE: Final[_Rows] = {
    "appArmorProfile": [(0, baseline.apparmor)],
    "capabilities_baseline": [(0, baseline.capabilities)],
    "hostNamespaces": [(0, baseline.host_namespaces)],
    "hostPathVolumes": [(0, baseline.host_path_volumes)],
    "hostPorts": [(0, baseline.host_ports)],
    "hostProbesAndHostLifecycle": [(34, baseline.probed_hosts)],
    "privileged": [(0, baseline.privileged)],
    "procMount": [(0, baseline.proc_mount), (35, _own_users(baseline.proc_mount))],
    "seLinuxOptions": [(0, baseline.selinux()), (31, baseline.selinux(baseline.SELINUX_TYPES_31))],
    "seccompProfile_baseline": [(0, baseline.seccomp_annotations), (19, baseline.seccomp)],
    "sysctls": [
        (0, baseline.sysctls()),
        (27, baseline.sysctls(baseline.SYSCTLS_27)),
        (29, baseline.sysctls(baseline.SYSCTLS_29)),
        (32, baseline.sysctls(baseline.SYSCTLS_32)),
    ],
    "windowsHostProcess": [(0, baseline.host_process)],
}
_RESTRICTED: Final[_Rows] = {
    "allowPrivilegeEscalation": [
        (8, restricted.allow_privilege_escalation),
        (25, _windows(restricted.allow_privilege_escalation)),
    ],
    "capabilities_restricted": [(22, restricted.capabilities), (25, _windows(restricted.capabilities))],
    "procMount_restricted": [(35, baseline.proc_mount)],
    "restrictedVolumes": [(0, restricted.volumes)],
    "runAsNonRoot": [(0, restricted.run_as_non_root), (35, _own_users(restricted.run_as_non_root))],
    "runAsUser": [(23, restricted.run_as_user), (35, _own_users(restricted.run_as_user))],
    "seccompProfile_restricted": [(19, restricted.seccomp_required), (25, _windows(restricted.seccomp_required))],
}
_INSTEAD_OF: Final = {
    "capabilities_restricted": "capabilities_baseline",
    "procMount_restricted": "procMount",
    "restrictedVolumes": "hostPathVolumes",
    "seccompProfile_restricted": "seccompProfile_baseline",
}
#: from here on nothing changes
_NEWEST: Final = max(minor for rows in (_BASELINE, _RESTRICTED) for checks in rows.values() for minor, _ in checks)


@lru_cache(maxsize=4 * (_NEWEST + 1))
def _checks(level: str, minor: int) -> tuple[Check, ...]:
    strict = _in_force(_RESTRICTED, minor) if level == "restricted" else {}
    contained = {_INSTEAD_OF[name] for name in strict if name in _INSTEAD_OF}
    base = _in_force(_BASELINE, minor)
    return (*(check for name, check in base.items() if name not in contained), *strict.values())


def _in_force(rows: _Rows, minor: int) -> dict[str, Check]:
    found: dict[str, Check] = {}
    for name in sorted(rows):
        for since, check in rows[name]:
            if since <= minor:
                found[name] = check
    return found


def judge(standard: Standard, metadata: Obj, spec: Obj) -> list[Finding]:
    """What the standard forbids of a pod, in upstream's order. Empty: it may run."""
    if standard.level == "privileged":
        return []
    subject = Subject(metadata, spec)
    checks = _checks(standard.level, min(standard.minor, _NEWEST))
    return [found for check in checks if (found := check(subject)) is not None]


def describe(findings: Sequence[Finding]) -> str:
    return ", ".join(map(str, findings))


__all__ = ["LATEST", "describe", "judge"]
