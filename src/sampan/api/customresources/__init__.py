"""Custom resources: what a definition may say, and what its objects must be. Pure.

``validate_definition(new, old)`` judges a CustomResourceDefinition; ``compile_version(definition, version)`` gives what
the server asks about the objects of one version (``CompiledVersion``): their structure, defaults, pruning, validation.
"""

from sampan.api.customresources.definition import validate_definition, validate_status
from sampan.api.customresources.version import CompiledVersion, compile_version

__all__ = ["CompiledVersion", "compile_version", "validate_definition", "validate_status"]
