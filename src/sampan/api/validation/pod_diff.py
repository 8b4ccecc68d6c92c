"""What differs between two pod specs, as a refusal shows it."""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.validation import common


def specs(old: Obj, new: Obj) -> str:
    return "\n".join(sorted(common.changed_paths(new, old, "spec")))


def ephemeral_containers(old: Obj, new: Obj) -> str:
    return "\n".join(sorted(common.changed_paths(new, old, "spec.ephemeralContainers")))
