"""Containers of a pod: what regular, init, sidecar and ephemeral ones share, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common, handlers, resources, security, volumes
from sampan.api.validation.common import Errors

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")

_ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
_ENV_RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
    "requests.memory",
)  # fmt: skip

_EPHEMERAL_FORBIDDEN = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy")


@dataclass(frozen=True, slots=True)
class PodContext:
    """What containers are checked against: the pod they are in."""

    volumes: dict[str, Obj]
    claims: frozenset[str]
    host_network: bool
    host_users: bool
    grace_seconds: int | None


def _ports(container: Obj, path: str, context: PodContext) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, port in enumerate(container.get("ports") or ()):
        where = f"{path}.ports[{index}]"
        if name := port.get("name"):
            problems = common.named(names.port_name, name, f"{where}.name")
            found += problems
            if not problems and name in seen:
                found.append(errors.duplicate(f"{where}.name", name))
            seen.add(name)
        number, host_port = port.get("containerPort", 0), port.get("hostPort", 0)
        if number == 0:
            found.append(errors.required(f"{where}.containerPort"))
        else:
            found += common.port(number, f"{where}.containerPort")
        if host_port:
            found += common.port(host_port, f"{where}.hostPort")
            if context.host_network and host_port != number:
                text = "must match `hostPort` when `hostNetwork` is true"
                found.append(errors.invalid(f"{where}.containerPort", number, text))
        found += common.one_of(port.get("protocol"), PROTOCOLS, f"{where}.protocol", must=True)
    return found


def _host_port_conflicts(containers: list[Obj], path: str) -> Errors:
    found: Errors = []
    seen: set[tuple[Any, ...]] = set()
    for index, container in enumerate(containers):
        for position, port in enumerate(container.get("ports") or ()):
            number = port.get("hostPort", 0)
            if not number:
                continue
            identity = (port.get("protocol"), port.get("hostIP", ""), number)
            if identity in seen:
                shown = "/".join(str(part) for part in identity)
                found.append(errors.duplicate(f"{path}[{index}].ports[{position}].hostPort", shown))
            seen.add(identity)
    return found


def _env(container: Obj, path: str) -> Errors:
    found: Errors = []
    for index, variable in enumerate(container.get("env") or ()):
        where = f"{path}.env[{index}]"
        if not variable.get("name"):
            found.append(errors.required(f"{where}.name"))
        else:
            found += common.named(names.env_var_name, variable["name"], f"{where}.name")
        if (source := variable.get("valueFrom")) is not None:
            found += _env_source(variable, source, f"{where}.valueFrom")
    for index, source in enumerate(container.get("envFrom") or ()):
        where = f"{path}.envFrom[{index}]"
        if source.get("prefix"):
            found += common.named(names.env_var_name, source["prefix"], f"{where}.prefix")
        given = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        if not given:
            text = "must specify one of: `configMapRef` or `secretRef`"
            found.append(errors.invalid(where, "", text))
        elif len(given) > 1:
            found.append(errors.invalid(where, "", "may not have more than one field specified at a time"))
        found += [fault for kind in given for fault in common.needed(source[kind], f"{where}.{kind}", "name")]
    return found


def _env_source(variable: Obj, source: Obj, path: str) -> Errors:
    kinds = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
    given = [kind for kind in kinds if source.get(kind) is not None]
    if not given:
        text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        return [errors.invalid(path, "", text)]
    if variable.get("value"):
        return [errors.invalid(path, "", "may not be specified when `value` is not empty")]
    if len(given) > 1:
        return [errors.invalid(path, "", "may not have more than one field specified at a time")]
    kind = given[0]
    ref, where = source[kind], f"{path}.{kind}"
    match kind:
        case "fieldRef":
            field = ref.get("fieldPath", "")
            if not field:
                return [errors.required(f"{where}.fieldPath")]
            if not volumes.field_path_supported(field, _ENV_FIELDS):
                return [errors.not_supported(f"{where}.fieldPath", field, _ENV_FIELDS)]
            return []
        case "resourceFieldRef":
            resource = ref.get("resource", "")
            if not resource:
                return [errors.required(f"{where}.resource")]
            huge = resource.startswith(("limits.hugepages-", "requests.hugepages-"))
            if resource not in _ENV_RESOURCES and not huge:
                return [errors.not_supported(f"{where}.resource", resource, _ENV_RESOURCES)]
            return []
        case "fileKeyRef":
            return common.needed(ref, where, "volumeName", "path", "key")
        case _:
            found = common.needed(ref, where, "name")
            if not ref.get("key"):
                return [*found, errors.required(f"{where}.key")]
            return found + common.named(names.config_map_key, ref["key"], f"{where}.key")


def _volume_mounts(container: Obj, path: str, context: PodContext) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        where = f"{path}.volumeMounts[{index}]"
        name, mount_path = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            found.append(errors.required(f"{where}.name"))
        if name not in context.volumes:
            found.append(errors.not_found_value(f"{where}.name", name))
        if not mount_path:
            found.append(errors.required(f"{where}.mountPath"))
        if mount_path in seen:
            found.append(errors.invalid(f"{where}.mountPath", mount_path, "must be unique"))
        seen.add(mount_path)
        found += _sub_path(mount, where)
        found += _propagation(mount, container, where)
    for index, device in enumerate(container.get("volumeDevices") or ()):
        where = f"{path}.volumeDevices[{index}]"
        found += common.needed(device, where, "name", "devicePath")
        name = device.get("name", "")
        volume = context.volumes.get(name)
        if volume is None:
            found.append(errors.not_found_value(f"{where}.name", name))
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            found.append(errors.invalid(f"{where}.name", name, text))
        if device.get("devicePath") in seen:
            found.append(errors.invalid(f"{where}.devicePath", device["devicePath"], "must be unique"))
        seen.add(device.get("devicePath", ""))
    return found


def _sub_path(mount: Obj, path: str) -> Errors:
    found: Errors = []
    sub_path, expression = mount.get("subPath", ""), mount.get("subPathExpr", "")
    if sub_path:
        found += common.non_absolute_descending(sub_path, f"{path}.subPath")
    if expression:
        if sub_path:
            text = "subPathExpr and subPath are mutually exclusive"
            found.append(errors.invalid(f"{path}.subPathExpr", expression, text))
        found += common.non_absolute_descending(expression, f"{path}.subPathExpr")
    return found


def _propagation(mount: Obj, container: Obj, path: str) -> Errors:
    mode = mount.get("mountPropagation")
    modes = ("Bidirectional", "HostToContainer", "None")
    found = common.one_of(mode, modes, f"{path}.mountPropagation")
    if mode == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        text = "Bidirectional mount propagation is available only to privileged containers"
        found.append(errors.forbidden(f"{path}.mountPropagation", text))
    recursive = mount.get("recursiveReadOnly")
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            text = "may only be specified when readOnly is true"
            found.append(errors.forbidden(f"{path}.recursiveReadOnly", text))
    elif recursive not in (None, "", "Disabled"):
        supported = ("Disabled", "Enabled", "IfPossible")
        found.append(errors.not_supported(f"{path}.recursiveReadOnly", recursive, supported))
    return found


def _common(container: Obj, path: str, context: PodContext, *, image_needed: bool = True) -> Errors:
    found: Errors = []
    name, image = container.get("name", ""), container.get("image", "")
    if not name:
        found.append(errors.required(f"{path}.name"))
    else:
        found += common.named(names.dns1123_label, name, f"{path}.name")
    if not image:
        if image_needed:
            found.append(errors.required(f"{path}.image"))
    elif image != image.strip():
        found.append(errors.invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))
    policies = ("FallbackToLogsOnError", "File")
    found += common.one_of(container.get("terminationMessagePolicy"), policies, f"{path}.terminationMessagePolicy")
    found += _ports(container, path, context)
    found += _env(container, path)
    found += _volume_mounts(container, path, context)
    found += common.one_of(container.get("imagePullPolicy"), PULL_POLICIES, f"{path}.imagePullPolicy", must=True)
    found += resources.resource_requirements(container.get("resources"), f"{path}.resources", context.claims)
    found += security.security_context(
        container.get("securityContext"), f"{path}.securityContext", host_users=context.host_users
    )
    return found + _resize_policies(container.get("resizePolicy"), f"{path}.resizePolicy")


def _resize_policies(policies: list[Obj] | None, path: str) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, policy in enumerate(policies or ()):
        name = policy.get("resourceName", "")
        found += common.one_of(name, ("cpu", "memory"), f"{path}[{index}].resourceName", must=True)
        restart = ("NotRequired", "RestartContainer")
        found += common.one_of(policy.get("restartPolicy"), restart, f"{path}[{index}].restartPolicy", must=True)
        if name in seen:
            found.append(errors.duplicate(f"{path}[{index}]", name))
        seen.add(name)
    return found


def _handlers(container: Obj, path: str, grace_seconds: int | None) -> Errors:
    found = handlers.lifecycle(container.get("lifecycle"), f"{path}.lifecycle", grace_seconds)
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        found += handlers.probe(
            container.get(key), f"{path}.{key}", success_once=key != "readinessProbe", grace_seconds=grace_seconds
        )
    return found


def _restart_policy(container: Obj, path: str) -> Errors:
    policies = ("Always", "Never", "OnFailure")
    found = common.one_of(container.get("restartPolicy"), policies, f"{path}.restartPolicy")
    if container.get("restartPolicyRules") and not container.get("restartPolicy"):
        text = "must specify restartPolicy when restart rules are used"
        found.append(errors.required(f"{path}.restartPolicy", text))
    return found


def containers(values: list[Obj] | None, path: str, context: PodContext, taken: set[str]) -> Errors:
    """Regular containers. ``taken`` collects the names used so far in the pod."""
    if not values:
        return [errors.required(path)]
    found: Errors = []
    for index, container in enumerate(values):
        where = f"{path}[{index}]"
        found += _common(container, where, context)
        found += _unique(container, where, taken)
        found += _handlers(container, where, context.grace_seconds)
        found += _restart_policy(container, where)
    return found + _host_port_conflicts(values, path)


def init_containers(values: list[Obj] | None, path: str, context: PodContext, taken: set[str]) -> Errors:
    """Init containers; those with restartPolicy Always are sidecars and may have probes and hooks."""
    found: Errors = []
    for index, container in enumerate(values or ()):
        where = f"{path}[{index}]"
        found += _common(container, where, context)
        found += _unique(container, where, taken)
        found += _restart_policy(container, where)
        if container.get("restartPolicy") == "Always":
            found += _handlers(container, where, context.grace_seconds)
            continue
        for key in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if container.get(key) is not None:
                text = "may not be set for init containers without restartPolicy=Always"
                found.append(errors.forbidden(f"{where}.{key}", text))
    return found


def ephemeral_containers(
    values: list[Obj] | None, path: str, context: PodContext, taken: set[str], targets: set[str]
) -> Errors:
    """``targets``: names that targetContainerName may point at."""
    found: Errors = []
    for index, container in enumerate(values or ()):
        where = f"{path}[{index}]"
        found += _common(container, where, context)
        found += _unique(container, where, taken)
        target = container.get("targetContainerName")
        if target and target not in targets:
            found.append(errors.not_found_value(f"{where}.targetContainerName", target))
        for key in _EPHEMERAL_FORBIDDEN:
            if container.get(key):
                found.append(errors.forbidden(f"{where}.{key}", "cannot be set for an Ephemeral Container"))
        if (container.get("resources") or {}) != {}:
            found.append(errors.forbidden(f"{where}.resources", "cannot be set for an Ephemeral Container"))
        for position, mount in enumerate(container.get("volumeMounts") or ()):
            for key in ("subPath", "subPathExpr"):
                if mount.get(key):
                    text = "cannot be set for an Ephemeral Container"
                    found.append(errors.forbidden(f"{where}.volumeMounts[{position}].{key}", text))
    return found


def _unique(container: Obj, path: str, taken: set[str]) -> Errors:
    name = container.get("name", "")
    if name and name in taken:
        return [errors.duplicate(f"{path}.name", name)]
    taken.add(name)
    return []
