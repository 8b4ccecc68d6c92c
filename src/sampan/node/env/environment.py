"""The variables of one container, as the kubelet computes them (upstream kubelet_pods.go makeEnvironmentVariables).

``container_environment`` reads the objects, then ``plan_environment`` decides, purely. Order of precedence: ``env``
over ``envFrom`` over the Services' variables; a later ``envFrom`` over an earlier one. Used when a container is
created, so that a restarted container sees current values.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path

from sampan.api import resources
from sampan.api.errors import ApiError
from sampan.api.faults import fault
from sampan.api.types import Obj
from sampan.node.env import envfile
from sampan.node.env.expansion import expand
from sampan.node.env.fields import FieldPathError, PodFacts, field_value, resource_value
from sampan.node.env.services import service_variables, visible_services
from sampan.node.env.sources import ObjectRef, ObjectSource, describe_failure
from sampan.node.safepath import UnsafePath, read_regular
from sampan.records import dataclass


class ContainerConfigError(Exception):
    """The container cannot be configured: waiting reason CreateContainerConfigError, event Failed ``Error: ...``."""

    reason = "CreateContainerConfigError"


@dataclass(frozen=True, slots=True)
class EnvironmentWarning:
    """An event to emit on the pod."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Environment:
    variables: dict[str, str]
    warnings: tuple[EnvironmentWarning, ...] = ()


#: what was read: the object, or the error that reading it gave
Fetched = Mapping[ObjectRef, Obj | ApiError]


async def container_environment(
    pod: Obj,
    container: Obj,
    source: ObjectSource,
    facts: PodFacts,
    services: Iterable[Obj] = (),
    volume_paths: Mapping[str, Path] | None = None,
) -> Environment:
    """Raises ContainerConfigError. ``services``: any superset of the visible ones. ``volume_paths``: for fileKeyRef."""
    fetched: dict[ObjectRef, Obj | ApiError] = {}
    for ref in container_references(pod, container):
        get = source.get_config_map if ref.resource is resources.CONFIG_MAPS else source.get_secret
        try:
            fetched[ref] = await get(ref.namespace, ref.name)
        except ApiError as error:
            fetched[ref] = error
    return plan_environment(pod, container, fetched, facts, services, volume_paths or {})


def container_references(pod: Obj, container: Obj) -> list[ObjectRef]:
    namespace = pod["metadata"]["namespace"]
    found: dict[ObjectRef, None] = {}
    for each in container.get("envFrom") or ():
        if name := (each.get("configMapRef") or {}).get("name"):
            found[ObjectRef(resources.CONFIG_MAPS, namespace, name)] = None
        if name := (each.get("secretRef") or {}).get("name"):
            found[ObjectRef(resources.SECRETS, namespace, name)] = None
    for each in container.get("env") or ():
        value_from = each.get("valueFrom") or {}
        if name := (value_from.get("configMapKeyRef") or {}).get("name"):
            found[ObjectRef(resources.CONFIG_MAPS, namespace, name)] = None
        if name := (value_from.get("secretKeyRef") or {}).get("name"):
            found[ObjectRef(resources.SECRETS, namespace, name)] = None
    return list(found)


def plan_environment(
    pod: Obj,
    container: Obj,
    fetched: Fetched,
    facts: PodFacts,
    services: Iterable[Obj] = (),
    volume_paths: Mapping[str, Path] | None = None,
) -> Environment:
    """Reads no clock and no API; only ``fileKeyRef`` reads its file, as the value is nowhere else."""
    planner = _Planner(pod, container, fetched, facts, volume_paths or {})
    planner.service_variables = service_variables(visible_services(pod, services))
    planner.add_env_from()
    planner.add_env()
    variables = {**planner.service_variables, **planner.variables}
    return Environment(variables, tuple(planner.warnings))


class _Planner:
    def __init__(
        self, pod: Obj, container: Obj, fetched: Fetched, facts: PodFacts, volume_paths: Mapping[str, Path]
    ) -> None:
        self.pod, self.container, self.fetched, self.facts = pod, container, fetched, facts
        self.volume_paths = volume_paths
        self.namespace: str = pod["metadata"]["namespace"]
        self.variables: dict[str, str] = {}
        self.service_variables: dict[str, str] = {}
        self.warnings: list[EnvironmentWarning] = []

    def add_env_from(self) -> None:
        for source in self.container.get("envFrom") or ():
            for field, ref_type, label in (
                ("configMapRef", resources.CONFIG_MAPS, "configMap"),
                ("secretRef", resources.SECRETS, "secret"),
            ):
                if reference := source.get(field):
                    ref = ObjectRef(ref_type, self.namespace, reference["name"])
                    if (data := self._data(ref, bool(reference.get("optional")))) is not None:
                        self._add_all(data, source.get("prefix") or "", f"{label} {ref.namespace}/{ref.name}")

    def _add_all(self, data: Mapping[str, str], prefix: str, origin: str) -> None:
        skipped = []
        for key in sorted(data):
            name = prefix + key
            if is_variable_name(name):
                self.variables[name] = data[key]
            else:
                skipped.append(name)
        if skipped:
            message = (
                f"Keys [{', '.join(skipped)}] from the EnvFrom {origin} were skipped since they are considered "
                "invalid environment variable names."
            )
            self.warnings.append(EnvironmentWarning("InvalidEnvironmentVariableNames", message))

    def add_env(self) -> None:
        for variable in self.container.get("env") or ():
            value_from = variable.get("valueFrom")
            value = self._referred(value_from) if value_from else self._literal(variable.get("value") or "")
            if value is not None:
                # Taken out first: a redefined variable takes the place of its last definition.
                self.variables.pop(variable["name"], None)
                self.variables[variable["name"]] = value

    def _literal(self, text: str) -> str:
        return expand(text, lambda name: self.variables.get(name, self.service_variables.get(name)))

    def _referred(self, value_from: Obj) -> str | None:
        """None: an optional reference to what is not there, so the variable is not set."""
        try:
            if reference := value_from.get("fieldRef"):
                return field_value(self.pod, reference["fieldPath"], self.facts)
            if reference := value_from.get("resourceFieldRef"):
                return resource_value(self.pod, self.container, reference, self.facts)
        except FieldPathError as error:
            raise ContainerConfigError(str(error)) from error
        if reference := value_from.get("configMapKeyRef"):
            return self._key(resources.CONFIG_MAPS, "ConfigMap", reference)
        if reference := value_from.get("secretKeyRef"):
            return self._key(resources.SECRETS, "Secret", reference)
        if reference := value_from.get("fileKeyRef"):
            return self._file_key(reference)
        return ""

    def _key(self, resource: resources.Resource, kind: str, reference: Obj) -> str | None:
        optional = bool(reference.get("optional"))
        data = self._data(ObjectRef(resource, self.namespace, reference["name"]), optional)
        if data is None:
            return None
        key = reference["key"]
        if key not in data and not optional:
            raise ContainerConfigError(f"couldn't find key {key} in {kind} {self.namespace}/{reference['name']}")
        return data.get(key)

    def _file_key(self, reference: Obj) -> str | None:
        volume, path, key = reference["volumeName"], reference["path"], reference["key"]
        optional = bool(reference.get("optional"))
        root = self.volume_paths.get(volume)
        if root is None:
            raise ContainerConfigError(f'cannot find the volume "{volume}" referenced by FileKeyRef')
        try:
            found = envfile.parse_env_file(read_regular(root, path, envfile.MAX_BYTES).decode())
        except FileNotFoundError:
            found = {}
            if not optional:
                raise ContainerConfigError(f'file "{path}" not found in volume "{volume}"') from None
        except (OSError, UnsafePath, ValueError) as error:
            raise ContainerConfigError(f'couldn\'t parse env file "{path}": {fault(error)}') from error
        if key not in found and not optional:
            raise ContainerConfigError(f'environment variable key "{key}" not found in file "{path}"')
        return found.get(key)

    def _data(self, ref: ObjectRef, optional: bool) -> Mapping[str, str] | None:
        """None: the object is optional and missing."""
        found = self.fetched[ref]
        if isinstance(found, ApiError):
            if optional and found.code == 404:
                return None
            raise ContainerConfigError(describe_failure(ref.resource, ref.name, found))
        data: Mapping[str, str] = found.get("data") or {}
        if ref.resource is resources.SECRETS:
            # The CRI carries variables as UTF-8 text; what is not text cannot be one.
            return {key: base64.b64decode(text or "").decode(errors="replace") for key, text in data.items()}
        return data


def is_variable_name(name: str) -> bool:
    """Printable ASCII without ``=`` (KEP-4369, relaxed environment variable validation)."""
    return bool(name) and all(" " <= char <= "~" and char != "=" for char in name)
