"""ClusterTrustBundle (certificates.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import names
from sampan.api.groups import printing, selectable
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "trustBundle")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(obj), (obj.get("spec") or {}).get("signerName") or printing.NONE)


KINDS = (
    Kind(
        group="certificates.k8s.io",
        version="v1",
        kind="ClusterTrustBundle",
        plural="clustertrustbundles",
        singular="clustertrustbundle",
        namespaced=False,
        schema="io.k8s.api.certificates.v1.ClusterTrustBundle",
        name_check=names.path_segment,
        unconditional_update=False,
        validate=_validate,
        columns=(
            printing.NAME,
            Column("SignerName"),
        ),
        row=_row,
        selectable_fields=selectable.fields_at("spec.signerName"),
        selectable_names=("spec.signerName",),
    ),
)
