"""What the requirements of a node share: a room a module (``requirement_room``)."""

from __future__ import annotations

from requirement_room import early_rooms, room

__all__ = ["early_rooms", "room"]
