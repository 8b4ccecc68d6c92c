"""StorageVersion (internal.apiserver.k8s.io/v1alpha1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import names
from sampan.api.groups import printing
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    status = obj.get("status") or {}
    servers = [
        f"{s.get('apiServerID', '')}={s.get('encodingVersion', '')}" for s in status.get("storageVersions") or ()
    ]
    return (
        printing.name(obj),
        status.get("commonEncodingVersion") or printing.UNSET,
        ",".join(servers) or printing.UNSET,
        printing.age(obj, now),
    )


def _name(name: str) -> list[str]:
    """``GROUP.RESOURCE``."""
    group, dot, resource = name.rpartition(".")
    if not dot:
        return ["name must be in the form of <group>.<resource>"]
    return [f"the group segment {text}" for text in names.dns1123_subdomain(group)] + [
        f"the resource segment {text}" for text in names.dns1035_label(resource)
    ]


KINDS = (
    Kind(
        group="internal.apiserver.k8s.io",
        version="v1alpha1",
        kind="StorageVersion",
        plural="storageversions",
        singular="storageversion",
        namespaced=False,
        schema="io.k8s.api.apiserverinternal.v1alpha1.StorageVersion",
        name_check=_name,
        status=True,
        prepare_create=drop_status,
        unconditional_update=False,
        columns=(
            printing.NAME,
            Column("CommonEncodingVersion"),
            Column("StorageVersions"),
            printing.AGE,
        ),
        row=_row,
    ),
)
