"""What a node does to a container besides running it: probes and lifecycle hooks."""

from __future__ import annotations

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_PROBE_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def _exec(action: Obj, path: str) -> Errors:
    return [] if action.get("command") else [errors.required(f"{path}.command")]


def _http_get(action: Obj, path: str) -> Errors:
    found = common.needed(action, path, "path")
    found += common.port_or_name(action.get("port"), f"{path}.port")
    found += common.one_of(action.get("scheme"), ("HTTP", "HTTPS"), f"{path}.scheme", must=True)
    for header in action.get("httpHeaders") or ():
        found += common.named(names.http_header_name, header.get("name", ""), f"{path}.httpHeaders")
    return found


def _tcp_socket(action: Obj, path: str) -> Errors:
    return common.port_or_name(action.get("port"), f"{path}.port")


def _grpc(action: Obj, path: str) -> Errors:
    return common.port(action.get("port", 0), f"{path}.port")


def _sleep(action: Obj, path: str, grace_seconds: int | None) -> Errors:
    seconds = action.get("seconds", 0)
    if seconds < 0 or (grace_seconds is not None and seconds > grace_seconds):
        text = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds or 0})"
        return [errors.invalid(path, seconds, text)]
    return []


def _handler(handler: Obj, path: str, kinds: tuple[str, ...], grace_seconds: int | None) -> Errors:
    """Exactly one action."""
    given = [kind for kind in kinds if handler.get(kind) is not None]
    if not given:
        return [errors.required(path, "must specify a handler type")]
    found = [errors.forbidden(f"{path}.{kind}", "may not specify more than 1 handler type") for kind in given[1:]]
    kind = given[0]
    action, where = handler[kind], f"{path}.{kind}"
    match kind:
        case "exec":
            found += _exec(action, where)
        case "httpGet":
            found += _http_get(action, where)
        case "tcpSocket":
            found += _tcp_socket(action, where)
        case "grpc":
            found += _grpc(action, where)
        case "sleep":
            found += _sleep(action, where, grace_seconds)
    return found


def probe(value: Obj | None, path: str, *, success_once: bool, grace_seconds: int | None) -> Errors:
    """``success_once``: liveness and startup probes succeed with the first success."""
    if value is None:
        return []
    found = _handler(value, path, ("exec", "httpGet", "tcpSocket", "grpc"), grace_seconds)
    for key in _PROBE_NUMBERS:
        found += common.non_negative(value.get(key), f"{path}.{key}")
    found += common.positive(value.get("terminationGracePeriodSeconds"), f"{path}.terminationGracePeriodSeconds")
    if success_once and value.get("successThreshold", 1) != 1:
        found.append(errors.invalid(f"{path}.successThreshold", value["successThreshold"], "must be 1"))
    if not success_once and value.get("terminationGracePeriodSeconds") is not None:
        seconds = value["terminationGracePeriodSeconds"]
        text = "must not be set for readinessProbes"
        found.append(errors.invalid(f"{path}.terminationGracePeriodSeconds", seconds, text))
    return found


def lifecycle(value: Obj | None, path: str, grace_seconds: int | None) -> Errors:
    found: Errors = []
    for key in ("postStart", "preStop"):
        if value and value.get(key) is not None:
            kinds = ("exec", "httpGet", "tcpSocket", "sleep")
            found += _handler(value[key], f"{path}.{key}", kinds, grace_seconds)
    return found
