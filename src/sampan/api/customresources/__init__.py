"""Custom resources: what a definition may say, and what its objects must be. Pure.

``validate_definition(new, old)`` judges a CustomResourceDefinition; ``compile_version(definition, version)`` gives what
the server asks about the objects of one version (``CompiledVersion``): their structure, defaults, pruning, validation.
Both bring the whole machinery of schemas and rules with them when they are called, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sampan.api.errors import FieldError
from sampan.api.types import Obj

if TYPE_CHECKING:
    from sampan.api.customresources.version import CompiledVersion


def validate_definition(new: Obj, old: Obj | None = None) -> list[FieldError]:
    """All faults of a definition that is created, or replaces ``old``. Generic metadata is judged elsewhere."""
    from sampan.api.customresources import definition  # late: see above

    return definition.validate_definition(new, old)


def validate_status(new: Obj, old: Obj) -> list[FieldError]:
    from sampan.api.customresources import definition  # late: see above

    return definition.validate_status(new, old)


def warnings_of(new: Obj, old: Obj | None) -> list[str]:
    """Of formats that nobody checks, where they are new."""
    from sampan.api.customresources import warnings  # late: see above

    return warnings.of_definition(new, old)


def compile_version(definition: Mapping[str, Any], version: str) -> CompiledVersion:
    """The version of this name of a valid definition. KeyError: it has none. Whatever else of the definition changes,
    the same schema gives the same value as long as somebody holds it."""
    from sampan.api.customresources import version as versions  # late: see above

    return versions.compile_version(definition, version)
