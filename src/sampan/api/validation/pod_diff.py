"""What differs between two pod specs, as a refusal shows it: lines of their JSON in Go's form, each with its sign.

Upstream: ``util/diff.Diff``, a unified diff with three lines around each change.
"""

from __future__ import annotations

import json
from difflib import unified_diff
from typing import Any, Final

from sampan.api.types import Obj
from sampan.api.validation import common, go_values

#: Lines of a spec that are compared so: the time for more grows with their square. Beyond it the paths are named.
_MOST_LINES: Final = 2000
_ESCAPES: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def specs(old: Obj, new: Obj) -> str:
    return _diff(go_values.pod_spec(old), go_values.pod_spec(new)) or _paths(new, old, "spec")


def ephemeral_containers(old: Obj, new: Obj) -> str:
    layout = go_values.of_pods("EphemeralContainer")
    before, after = go_values.struct(old, layout), go_values.struct(new, layout)
    return _diff(before, after) or _paths(new, old, "spec.ephemeralContainers")


def _diff(old: Any, new: Any) -> str:
    """Empty: there is too much of it."""
    before, after = _lines(old), _lines(new)
    if max(len(before), len(after)) > _MOST_LINES:
        return ""
    return "".join([*unified_diff(before, after)][2:])  # without the names of files


def _lines(value: Any) -> list[str]:
    text = json.dumps(value, indent=1, ensure_ascii=False).translate(_ESCAPES)
    return [f"{line}\n" for line in text.split("\n")]


def _paths(new: Obj, old: Obj, path: str) -> str:
    return "\n".join(sorted(common.changed_paths(new, old, path)))
