"""What the requirements of a node share: a room a module (``requirement_room``)."""

from __future__ import annotations

from requirement_room import room

__all__ = ["room"]
