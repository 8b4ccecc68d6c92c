"""ServiceAccount (v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.kind import Kind, Subresource
from sampan.api.types import Obj

_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


def _prepare(account: Obj) -> None:
    """Of a secret only the name is kept."""
    if secrets := account.get("secrets"):
        account["secrets"] = [{"name": secret["name"]} if secret.get("name") else {} for secret in secrets]


def _prepare_update(new: Obj, old: Obj) -> None:
    _prepare(new)


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    marked = [_MOUNTABLE in (each.get("metadata", {}).get("annotations") or {}) for each in (new, old or {})]
    if marked != [True, False]:
        return ()
    text = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    return (f"metadata.annotations[{_MOUNTABLE}]: {text}",)


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
        prepare_create=_prepare,
        prepare_update=_prepare_update,
        warnings=_warnings,
        columns=(printing.NAME, printing.AGE),
        row=_row,
    ),
)
