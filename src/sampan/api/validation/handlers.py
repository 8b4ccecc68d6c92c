"""What a node does to a container besides running it: probes, lifecycle hooks, the signal that stops it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_PROBE_NUMBERS: Final = (
    "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold",
)  # fmt: skip
_OF_PROBES: Final = ("exec", "httpGet", "tcpSocket", "grpc")
_OF_HOOKS: Final = ("exec", "httpGet", "tcpSocket", "sleep")
SCHEMES: Final = ("HTTP", "HTTPS")

_OF_WINDOWS: Final = ("SIGKILL", "SIGTERM")
_PLAIN: Final = (
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
    "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
)  # fmt: skip
SIGNALS: Final = tuple(sorted((
    *(f"SIG{name}" for name in _PLAIN),
    *(f"SIGRTMIN+{number}" for number in range(1, 16)),
    *(f"SIGRTMAX-{number}" for number in range(1, 15)),
)))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Of the pod, what its handlers are checked against. ``system``: None where it does not say."""

    grace_seconds: int | None
    system: str | None


def _http_get(action: Obj, path: str) -> Errors:
    found: Errors = []
    if not action.get("path"):
        found.append(errors.required(f"{path}.path"))
    found += common.port_or_name(action.get("port"), f"{path}.port")
    if action.get("scheme") not in SCHEMES:
        found.append(errors.not_supported(f"{path}.scheme", action.get("scheme", ""), SCHEMES))
    for header in action.get("httpHeaders") or ():
        found += common.named(names.http_header_name, header.get("name", ""), f"{path}.httpHeaders")
    return found


def _sleep(action: Obj, path: str, grace_seconds: int | None) -> Errors:
    seconds = action.get("seconds", 0)
    if grace_seconds is not None and not 0 <= seconds <= grace_seconds:
        text = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})"
        return [errors.invalid(path, seconds, text)]
    return []


def _handler(handler: Obj, path: str, kinds: tuple[str, ...], grace_seconds: int | None) -> Errors:
    """Exactly one action."""
    given = [kind for kind in kinds if handler.get(kind) is not None]
    if not given:
        return [errors.required(path, "must specify a handler type")]
    kind = given[0]
    action, where = handler[kind], f"{path}.{kind}"
    match kind:
        case "exec":
            found = [] if action.get("command") else [errors.required(f"{where}.command")]
        case "httpGet":
            found = _http_get(action, where)
        case "tcpSocket":
            found = common.port_or_name(action.get("port"), f"{where}.port")
        case "grpc":
            found = common.port(action.get("port", 0), f"{where}.port")
        case _:
            found = _sleep(action, where, grace_seconds)
    return found + [
        errors.forbidden(f"{path}.{each}", "may not specify more than 1 handler type") for each in given[1:]
    ]


def probes(container: Obj, path: str, pod: Surroundings) -> Errors:
    found: Errors = []
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (value := container.get(key)) is not None:
            found += _probe(value, f"{path}.{key}", pod, key)
    return found


def _probe(value: Obj, path: str, pod: Surroundings, key: str) -> Errors:
    found = _handler(value, path, _OF_PROBES, pod.grace_seconds)
    for number in _PROBE_NUMBERS:
        if value.get(number, 0) < 0:
            found.append(errors.invalid(f"{path}.{number}", value[number], common.NON_NEGATIVE))
    seconds, where = value.get("terminationGracePeriodSeconds"), f"{path}.terminationGracePeriodSeconds"
    if seconds is not None and seconds <= 0:
        found.append(errors.invalid(where, seconds, "must be greater than 0"))
    if key == "readinessProbe":
        if seconds is not None:
            found.append(errors.invalid(where, seconds, "must not be set for readinessProbes"))
    elif value.get("successThreshold", 0) != 1:
        found.append(errors.invalid(f"{path}.successThreshold", value.get("successThreshold", 0), "must be 1"))
    return found


def lifecycle(value: Obj, path: str, pod: Surroundings) -> Errors:
    found: Errors = []
    for key in ("postStart", "preStop"):
        if value.get(key) is not None:
            found += _handler(value[key], f"{path}.{key}", _OF_HOOKS, pod.grace_seconds)
    if value.get("stopSignal") is not None:
        found += _stop_signal(value["stopSignal"], f"{path}.stopSignal", pod.system)
    return found


def _stop_signal(signal: str, path: str, system: str | None) -> Errors:
    if system is None:
        return [errors.forbidden(path, "may not be set for containers with empty `spec.os.name`")]
    supported = {"windows": _OF_WINDOWS, "linux": SIGNALS}.get(system)
    return [errors.not_supported(path, signal, supported)] if supported and signal not in supported else []
