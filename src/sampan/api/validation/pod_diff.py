"""What differs between two pod specs, as a refusal shows it: Go's structs, line by line; or only the paths, where that
would be too long."""

from __future__ import annotations

from sampan.api import go_diff
from sampan.api.types import Obj
from sampan.api.validation import common, go_values


def specs(old: Obj, new: Obj) -> str:
    return go_diff.diff(go_values.pod_spec(old), go_values.pod_spec(new)) or _paths(new, old, "spec")


def ephemeral_containers(old: Obj, new: Obj) -> str:
    layout = go_values.of_pods("EphemeralContainer")
    found = go_diff.diff(go_values.struct(old, layout), go_values.struct(new, layout))
    return found or _paths(new, old, "spec.ephemeralContainers")


def _paths(new: Obj, old: Obj, path: str) -> str:
    return "\n".join(sorted(common.changed_paths(new, old, path)))
