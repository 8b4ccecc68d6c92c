"""What is said of kinds that make pods from ``spec.template``, when what is said is the same for several of them."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.groups.core import pod_warnings
from sampan.api.types import Obj


def named_for_pods(new: Obj, old: Obj | None) -> list[str]:
    """Of a name that pods get theirs from; only when it is new."""
    return pod_warnings.name_in_hostnames(new, "Pod names and hostnames") if old is None else []


def of_workload(new: Obj, old: Obj | None) -> Sequence[str]:
    """For ``Kind.warnings``: of a new name, and of a template whenever the generation changes."""
    if not pod_warnings.is_new_generation(new, old):
        return ()
    template = (new.get("spec") or {}).get("template")
    return named_for_pods(new, old) + pod_warnings.of_template(template, "spec.template")
