"""Containers of a pod: what regular, init, sidecar and ephemeral ones share, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common, environment, handlers, mounts, resources, security
from sampan.api.validation.common import Errors
from sampan.api.validation.handlers import Surroundings
from sampan.api.validation.options import Options
from sampan.api.validation.volumes import PULL_POLICIES

PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_MESSAGE_POLICIES: Final = ("File", "FallbackToLogsOnError")
RESTART_POLICIES: Final = ("Always", "Never", "OnFailure")
_RULE_ACTIONS: Final = ("Restart", "RestartAllContainers")
_MOST_RULES: Final = 20
_MOST_EXIT_CODES: Final = 255

#: What an ephemeral container may not say, in the order of Go's struct.
_NOT_EPHEMERAL: Final = (
    "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe",
    "startupProbe", "lifecycle",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodContext:
    """What containers are checked against: the pod they are in. ``volumes``: those without faults."""

    volumes: dict[str, Obj]
    claims: resources.ClaimNames
    host_users: bool
    restart_policy: str
    surroundings: Surroundings
    options: Options


def _ports(ports: list[Obj], path: str) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        where = f"{path}[{index}]"
        if name := port.get("name"):
            if problems := names.port_name(name):
                found += [errors.invalid(f"{where}.name", name, text) for text in problems]
            elif name in seen:
                found.append(errors.duplicate(f"{where}.name", name))
            else:
                seen.add(name)
        number, host_port, protocol = port.get("containerPort", 0), port.get("hostPort", 0), port.get("protocol")
        if number == 0:
            found.append(errors.required(f"{where}.containerPort"))
        elif not 1 <= number <= 65535:
            found += common.port(number, f"{where}.containerPort")
        if host_port:
            found += common.port(host_port, f"{where}.hostPort")
        if protocol not in PROTOCOLS:
            found += common.one_of(protocol, PROTOCOLS, f"{where}.protocol", must=True)
    return found


def _host_port_conflicts(containers: list[Obj], path: str) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, container in enumerate(containers):
        for position, port in enumerate(container.get("ports") or ()):
            number = port.get("hostPort", 0)
            if not number:
                continue
            identity = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{number}"
            if identity in seen:
                found.append(errors.duplicate(f"{path}[{index}].ports[{position}].hostPort", identity))
            seen.add(identity)
    return found


def _common(container: Obj, path: str, context: PodContext) -> Errors:
    name = container.get("name", "")
    found = common.named(names.dns1123_label, name, f"{path}.name") if name else [errors.required(f"{path}.name")]
    if not container.get("image"):
        found.append(errors.required(f"{path}.image"))
    policy = container.get("terminationMessagePolicy")
    if policy not in _MESSAGE_POLICIES:
        found += common.one_of(policy, _MESSAGE_POLICIES, f"{path}.terminationMessagePolicy", must=True)
    if ports := container.get("ports"):
        found += _ports(ports, f"{path}.ports")
    if variables := container.get("env"):
        found += environment.variables(variables, f"{path}.env")
    if sources := container.get("envFrom"):
        found += environment.sources(sources, f"{path}.envFrom")
    found += mounts.mounts(container, path, context.volumes)
    found += mounts.devices(container, path, context.volumes)
    if container.get("imagePullPolicy") not in PULL_POLICIES:
        found += common.one_of(container.get("imagePullPolicy"), PULL_POLICIES, f"{path}.imagePullPolicy", must=True)
    if requirements := container.get("resources"):
        found += resources.container_requirements(requirements, f"{path}.resources", context.claims, context.options)
    if policies := container.get("resizePolicy"):
        found += _resize_policies(policies, f"{path}.resizePolicy", context.restart_policy)
    if security_context := container.get("securityContext"):
        found += security.security_context(security_context, f"{path}.securityContext", host_users=context.host_users)
    return found


def _resize_policies(policies: list[Obj], path: str, restart_policy: str) -> Errors:
    """Most is said of the whole list: so it is upstream."""
    found: Errors = []
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        name, restart = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if name in seen:
            found.append(errors.duplicate(f"{path}[{index}]", name))
        seen.add(name)
        found += common.one_of(name, ("cpu", "memory"), path, must=True)
        found += common.one_of(restart, ("NotRequired", "RestartContainer"), path, must=True)
        if restart_policy == "Never" and restart != "NotRequired":
            text = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            found.append(errors.invalid(path, restart, text))
    return found


def _restart_policy(container: Obj, path: str) -> Errors:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    if policy is None and not rules:
        return []
    found: Errors = []
    if policy is None:
        text = "must specify restartPolicy when restart rules are used"
        found.append(errors.required(f"{path}.restartPolicy", text))
    elif policy not in RESTART_POLICIES:
        found.append(errors.not_supported(f"{path}.restartPolicy", policy, RESTART_POLICIES))
    if len(rules) > _MOST_RULES:
        found.append(errors.too_long(f"{path}.restartPolicyRules", _MOST_RULES))
    for index, rule in enumerate(rules):
        found += _restart_rule(rule, f"{path}.restartPolicyRules[{index}]")
    return found


def _restart_rule(rule: Obj, path: str) -> Errors:
    found: Errors = []
    if rule.get("action") not in _RULE_ACTIONS:
        # The list that upstream shows is the one without the newer action.
        found.append(errors.not_supported(f"{path}.action", rule.get("action", ""), _RULE_ACTIONS[:1]))
    codes = rule.get("exitCodes")
    if codes is None:
        return [*found, errors.required(f"{path}.exitCodes", "must be specified")]
    if codes.get("operator") not in ("In", "NotIn"):
        found.append(errors.not_supported(f"{path}.exitCodes.operator", codes.get("operator", ""), ("In", "NotIn")))
    if len(codes.get("values") or ()) > _MOST_EXIT_CODES:
        found.append(errors.too_long(f"{path}.exitCodes.values", _MOST_EXIT_CODES))
    return found


def _handlers(container: Obj, path: str, context: PodContext) -> Errors:
    found: Errors = []
    if (hooks := container.get("lifecycle")) is not None:
        found += handlers.lifecycle(hooks, f"{path}.lifecycle", context.surroundings)
    return found + handlers.probes(container, path, context.surroundings)


def containers(values: list[Obj] | None, path: str, context: PodContext) -> Errors:
    """Regular containers."""
    if not values:
        return [errors.required(path)]
    found: Errors = []
    taken: set[str] = set()
    for index, container in enumerate(values):
        where = f"{path}[{index}]"
        found += _common(container, where, context)
        name = container.get("name", "")
        if name in taken:
            found.append(errors.duplicate(f"{where}.name", name))
        taken.add(name)
        found += _handlers(container, where, context)
        found += _restart_policy(container, where)
    return found + _host_port_conflicts(values, path)


def init_containers(values: list[Obj] | None, path: str, context: PodContext, regular: list[Obj]) -> Errors:
    """Init containers; those with restartPolicy Always are sidecars and may have probes and hooks."""
    found: Errors = []
    taken = {container.get("name", "") for container in regular} if values else set()
    for index, container in enumerate(values or ()):
        where = f"{path}[{index}]"
        found += _common(container, where, context)
        found += _restart_policy(container, where)
        name = container.get("name", "")
        if name in taken:
            found.append(errors.duplicate(f"{where}.name", name))
        elif name:
            taken.add(name)
        # One after the other: each has all the ports of the host. Upstream names the first place.
        found += _host_port_conflicts([container], path)
        if container.get("restartPolicy") == "Always":
            found += _handlers(container, where, context)
            continue
        for key in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if container.get(key) is not None:
                text = "may not be set for init containers without restartPolicy=Always"
                found.append(errors.forbidden(f"{where}.{key}", text))
    return found


def ephemeral_containers(values: list[Obj] | None, path: str, context: PodContext, others: list[Obj]) -> Errors:
    """``others``: the containers of other kinds, which targetContainerName may point at."""
    if not values:
        return []
    found: Errors = []
    targets = {container.get("name", "") for container in others}
    taken = set(targets)
    for index, container in enumerate(values):
        where = f"{path}[{index}]"
        found += _common(container, where, context)
        found += image_without_padding(container, where)
        name, target = container.get("name", ""), container.get("targetContainerName")
        if name in taken:
            found.append(errors.duplicate(f"{where}.name", name))
        taken.add(name)
        if target and target not in targets:
            found.append(errors.not_found_value(f"{where}.targetContainerName", target))
        for key in _NOT_EPHEMERAL:
            if container.get(key):
                found.append(errors.forbidden(f"{where}.{key}", "cannot be set for an Ephemeral Container"))
        for position, mount in enumerate(container.get("volumeMounts") or ()):
            for key in ("subPath", "subPathExpr"):
                if mount.get(key):
                    text = "cannot be set for an Ephemeral Container"
                    found.append(errors.forbidden(f"{where}.volumeMounts[{position}].{key}", text))
    return found


def image_without_padding(container: Obj, path: str) -> Errors:
    """Of pods: in templates a single space has had a meaning."""
    image = container.get("image", "")
    if image == image.strip():
        return []
    return [errors.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")]
