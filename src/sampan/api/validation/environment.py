"""Variables of a container, and where their values come from."""

from __future__ import annotations

from typing import Final

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common, references
from sampan.api.validation.common import Errors

_FIELDS: Final = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip


def variables(values: list[Obj] | None, path: str) -> Errors:
    found: Errors = []
    for index, variable in enumerate(values or ()):
        name = variable.get("name", "")
        if not name:
            found.append(errors.required(f"{path}[{index}].name"))
        elif problems := names.env_var_name(name):
            found += [errors.invalid(f"{path}[{index}].name", name, text) for text in problems]
        if (source := variable.get("valueFrom")) is not None:
            found += _source(variable, source, f"{path}[{index}].valueFrom")
    return found


def _source(variable: Obj, source: Obj, path: str) -> Errors:
    found: Errors = []
    given = [kind for kind in _SOURCES if source.get(kind) is not None]
    for kind in given:
        found += _SOURCES[kind](source[kind], f"{path}.{kind}")
    if not given:
        text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        found.append(errors.invalid(path, "", text))
    elif variable.get("value"):
        found.append(errors.invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        found.append(errors.invalid(path, "", "may not have more than one field specified at a time"))
    return found


def _field(reference: Obj, path: str) -> Errors:
    return references.field(reference, path, _FIELDS)


def _resource(reference: Obj, path: str) -> Errors:
    return references.resource(reference, path, of_volume=False)


def _key(reference: Obj, path: str) -> Errors:
    """configMapKeyRef and secretKeyRef."""
    found = common.named(names.dns1123_subdomain, reference.get("name", ""), f"{path}.name")
    if not reference.get("key"):
        return [*found, errors.required(f"{path}.key")]
    return found + common.named(names.config_map_key, reference["key"], f"{path}.key")


def _file(reference: Obj, path: str) -> Errors:
    found: Errors = []
    for key, check in (("key", names.env_var_name), ("volumeName", names.dns1123_label), ("path", None)):
        value = reference.get(key, "")
        if not value:
            found.append(errors.required(f"{path}.{key}"))
        elif check is not None:
            found += common.named(check, value, f"{path}.{key}")
        else:
            found += common.no_backsteps(value, f"{path}.{key}")
    return found


_SOURCES: Final = {
    "fieldRef": _field,
    "resourceFieldRef": _resource,
    "configMapKeyRef": _key,
    "secretKeyRef": _key,
    "fileKeyRef": _file,
}


def sources(values: list[Obj] | None, path: str) -> Errors:
    """``envFrom``."""
    found: Errors = []
    for index, source in enumerate(values or ()):
        where = f"{path}[{index}]"
        if source.get("prefix"):
            found += common.named(names.env_var_name, source["prefix"], f"{where}.prefix")
        given = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        for kind in given:
            name = source[kind].get("name", "")
            if not name:
                found.append(errors.required(f"{where}.{kind}.name"))
            else:
                problems = names.as_prefix(names.dns1123_subdomain, name)
                found += [errors.invalid(f"{where}.{kind}.name", name, text) for text in problems]
        # These two are said of the whole list: so it is upstream.
        if not given:
            found.append(errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            found.append(errors.invalid(path, "", "may not have more than one field specified at a time"))
    return found


def files_of_volumes(containers: list[tuple[Obj, str]], volumes: dict[str, Obj]) -> Errors:
    """Files that variables are read from lie in emptyDir volumes. ``volumes``: all of the pod, by name."""
    found: Errors = []
    for container, path in containers:
        for index, variable in enumerate(container.get("env") or ()):
            reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
            if reference is None:
                continue
            where, name = f"{path}.env[{index}].valueFrom.fileKeyRef.volumeName", reference.get("volumeName", "")
            if name not in volumes:
                found.append(errors.not_found_value(where, name))
            elif volumes[name].get("emptyDir") is None:
                found.append(errors.invalid(where, name, "referenced volume must be of type emptyDir"))
    return found
