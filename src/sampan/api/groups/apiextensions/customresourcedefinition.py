"""CustomResourceDefinition (apiextensions.k8s.io/v1): the declaration. Serving custom resources is the server's."""

from __future__ import annotations

from sampan.api.groups import printing
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "group", "versions", "scope")


KINDS = (
    Kind(
        group="apiextensions.k8s.io",
        version="v1",
        kind="CustomResourceDefinition",
        plural="customresourcedefinitions",
        singular="customresourcedefinition",
        namespaced=False,
        schema="io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        status=True,
        prepare_create=drop_status,
        generation=True,
        unconditional_update=False,
        validate=_validate,
        columns=printing.CREATED_AT_COLUMNS,
        row=printing.created_at_row,
    ),
)
