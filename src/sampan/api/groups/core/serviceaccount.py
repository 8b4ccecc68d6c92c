"""ServiceAccount (v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.kind import Kind, Subresource
from sampan.api.types import Obj


def _row(account: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(account), printing.age(account, now))


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="ServiceAccount",
        plural="serviceaccounts",
        singular="serviceaccount",
        namespaced=True,
        schema="io.k8s.api.core.v1.ServiceAccount",
        returns_deleted=True,
        short_names=("sa",),
        subresources=(Subresource("token", "TokenRequest", "authentication.k8s.io", "v1", ("create",)),),
        columns=(printing.NAME, printing.AGE),
        row=_row,
    ),
)
