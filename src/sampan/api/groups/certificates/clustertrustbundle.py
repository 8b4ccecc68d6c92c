"""ClusterTrustBundle (certificates.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing, selectable
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, pem, signers
from sampan.api.validation.common import Errors

_LONGEST_BUNDLE = 1024 * 1024
_HIDDEN = "<value omitted>"


def _validate(obj: Obj) -> Errors:
    return _name(obj) + _bundle((obj.get("spec") or {}).get("trustBundle") or "")


def _name(obj: Obj) -> Errors:
    """A bundle of a signer is named after it."""
    signer, name = (obj.get("spec") or {}).get("signerName") or "", obj["metadata"].get("name") or ""
    path = "metadata.name"
    if not signer:
        if ":" in name:
            text = 'ClusterTrustBundle without signer name must not have ":" in its name'
            return [errors.invalid(path, name, text)]
        return common.named(names.dns1123_subdomain, name, path)
    prefix = signer.replace("/", ":") + ":"
    if name.startswith(prefix):
        texts = names.dns1123_subdomain(name.removeprefix(prefix))
    else:
        texts = [f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"]
    return [errors.invalid(path, name, text) for text in texts] + signers.signer_name(signer, "spec.signerName")


def _bundle(text: str) -> Errors:
    """Certificates of authorities, each once, and nothing else between them that looks like PEM."""
    path = "spec.trustBundle"
    if len(text.encode()) > _LONGEST_BUNDLE:
        return [errors.too_long(path, _LONGEST_BUNDLE)]
    found: Errors = []
    anchors: dict[bytes, list[int]] = {}
    for index, block in enumerate(pem.blocks(text.encode())):
        if fault := _anchor_fault(block):
            found.append(errors.invalid(path, _HIDDEN, f"entry {index} {fault}"))
        else:
            anchors.setdefault(block.der, []).append(index)
    if found:
        return found
    if not anchors:
        return [errors.invalid(path, _HIDDEN, "at least one trust anchor must be provided")]
    return [
        errors.invalid(path, _HIDDEN, f"duplicate trust anchor (indices [{' '.join(map(str, indices))}])")
        for indices in anchors.values()
        if len(indices) > 1
    ]


def _anchor_fault(block: pem.Block) -> str:
    if block.kind != "CERTIFICATE":
        return f"has bad block type: {block.kind}"
    if block.headers:
        return "has PEM block headers"
    found = pem.certificate(block.der)
    if found is None:
        return "does not parse as X.509"
    return "" if pem.is_authority(found) else "does not have the CA bit set"


def _validate_update(new: Obj, old: Obj) -> Errors:
    """Certificates that were taken are not looked at again."""
    now, before = new.get("spec") or {}, old.get("spec") or {}
    found = _validate(new) if now.get("trustBundle") != before.get("trustBundle") else _name(new)
    return found + common.immutable(now.get("signerName") or "", before.get("signerName") or "", "spec.signerName")


def _any_name(name: str) -> list[str]:
    """What it may be depends on the signer."""
    return []


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
        name_check=_any_name,
        unconditional_update=False,
        validate=_validate,
        validate_update=_validate_update,
        ratchets=True,
        demanding=True,
        columns=(
            printing.NAME,
            Column("SignerName"),
        ),
        row=_row,
        selectable_fields=selectable.fields_at("spec.signerName"),
        selectable_names=("spec.signerName",),
    ),
)
