"""PodCertificateRequest (certificates.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups import printing, selectable
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(
        obj.get("spec") or {},
        "spec",
        "signerName",
        "podName",
        "podUID",
        "serviceAccountName",
        "serviceAccountUID",
        "nodeName",
        "nodeUID",
    )


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("spec"), old.get("spec"), "spec")


KINDS = (
    Kind(
        group="certificates.k8s.io",
        version="v1",
        kind="PodCertificateRequest",
        plural="podcertificaterequests",
        singular="podcertificaterequest",
        namespaced=True,
        schema="io.k8s.api.certificates.v1.PodCertificateRequest",
        status=True,
        prepare_create=drop_status,
        unconditional_update=False,
        validate=_validate,
        validate_update=_validate_update,
        columns=printing.CREATED_AT_COLUMNS,
        row=printing.created_at_row,
        selectable_fields=selectable.fields_at("spec.signerName", "spec.podName", "spec.nodeName"),
        selectable_names=("spec.signerName", "spec.podName", "spec.nodeName"),
    ),
)
