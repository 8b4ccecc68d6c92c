"""StorageVersionMigration of storagemigration.k8s.io/v1alpha1 and v1: it named a version, and where it had come to."""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert.parts import OWN, annotate_json, part, take_json

_WRITTEN = f"{OWN}storagemigration-v1alpha1"


def to_storageversionmigration(migration: Obj) -> Obj:
    spec = part(migration, "spec")
    resource = part(spec, "resource")
    written = {
        key: holder.pop(key) for holder, key in ((resource, "version"), (spec, "continueToken")) if key in holder
    }
    if written:
        annotate_json(migration, _WRITTEN, written)
    return migration


def from_storageversionmigration(migration: Obj) -> Obj:
    written = take_json(migration, _WRITTEN)
    if isinstance(written, dict) and isinstance(migration.get("spec"), dict):
        spec = migration["spec"]
        if isinstance(written.get("version"), str):
            spec.setdefault("resource", {})["version"] = written["version"]
        if isinstance(written.get("continueToken"), str):
            spec["continueToken"] = written["continueToken"]
    return migration
