"""The registries that the tests of this folder share, a module at a time."""

from __future__ import annotations

from registry_world import world

__all__ = ["world"]
