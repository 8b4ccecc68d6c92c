"""IngressClass (networking.k8s.io/v1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.groups.networking.ingress import reference
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_LONGEST_CONTROLLER = 250
_HTTP_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", re.ASCII)


def _default(ingress_class: Obj) -> None:
    parameters = (ingress_class.get("spec") or {}).get("parameters")
    if parameters is not None and parameters.get("scope") is None:
        parameters["scope"] = "Cluster"


_SCOPES = ("Cluster", "Namespace")


def _validate(ingress_class: Obj) -> Errors:
    spec = ingress_class.get("spec") or {}
    found = _controller(spec.get("controller", ""), "spec.controller")
    if (parameters := spec.get("parameters")) is not None:
        found += reference(parameters, "spec.parameters") + _scope(parameters, "spec.parameters")
    return found


def _controller(name: str, path: str) -> Errors:
    if not name:
        return [errors.required(path)]
    found = [errors.too_long(path, _LONGEST_CONTROLLER)] if len(name.encode()) > _LONGEST_CONTROLLER else []
    domain, _, rest = name.partition("/")
    if not (domain and rest):
        return [*found, errors.invalid(path, name, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    found += common.named(names.dns1123_subdomain, domain, path)
    if not _HTTP_PATH.fullmatch(rest):
        found.append(errors.invalid(path, rest, f"Invalid path (regex used for validation is '{_HTTP_PATH.pattern}')"))
    return found


def _scope(parameters: Obj, path: str) -> Errors:
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        return [errors.required(f"{path}.scope")]
    if scope not in _SCOPES:
        return [errors.not_supported(f"{path}.scope", scope, _SCOPES)]
    if scope == "Cluster":
        if namespace is None:
            return []
        return [errors.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")]
    if namespace is None:
        return [errors.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")]
    return common.named(names.dns1123_label, namespace, f"{path}.namespace")


def _validate_update(new: Obj, old: Obj) -> Errors:
    controller, before = ((one.get("spec") or {}).get("controller", "") for one in (new, old))
    return common.immutable(controller, before, "spec.controller") + _validate(new)


def _row(ingress_class: Obj, now: datetime) -> Sequence[Any]:
    spec = ingress_class.get("spec") or {}
    shown, parameters = printing.NONE, spec.get("parameters")
    if parameters is not None:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") is not None else ""
        shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return (printing.name(ingress_class), spec.get("controller", ""), shown, printing.age(ingress_class, now))


KINDS = (
    Kind(
        group="networking.k8s.io",
        version="v1",
        kind="IngressClass",
        plural="ingressclasses",
        singular="ingressclass",
        namespaced=False,
        schema="io.k8s.api.networking.v1.IngressClass",
        generation=True,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        ratchets=True,
        columns=(printing.NAME, Column("Controller"), Column("Parameters"), printing.AGE),
        row=_row,
    ),
)
