"""IngressClass (networking.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _default(ingress_class: Obj) -> None:
    parameters = (ingress_class.get("spec") or {}).get("parameters")
    if parameters is not None and parameters.get("scope") is None:
        parameters["scope"] = "Cluster"


def _validate(ingress_class: Obj) -> Errors:
    spec = ingress_class.get("spec") or {}
    found = common.needed(spec, "spec", "controller")
    if spec.get("parameters") is not None:
        found += common.needed(spec["parameters"], "spec.parameters", "kind", "name")
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    if new.get("spec", {}).get("controller") == old.get("spec", {}).get("controller"):
        return []
    return [errors.invalid("spec.controller", new.get("spec", {}).get("controller"), common.IMMUTABLE)]


def _row(ingress_class: Obj, now: datetime) -> Sequence[Any]:
    spec = ingress_class.get("spec") or {}
    shown, parameters = printing.NONE, spec.get("parameters")
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
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
        columns=(printing.NAME, Column("Controller"), Column("Parameters"), printing.AGE),
        row=_row,
    ),
)
