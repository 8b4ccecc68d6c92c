"""A packet that a rule told of."""

from __future__ import annotations

from typing import NamedTuple


class Packet(NamedTuple):
    """``prefix`` is the rule's. Ports are 0 where the protocol has none or they were not copied."""

    prefix: str
    source: str
    target: str
    protocol: str
    source_port: int = 0
    target_port: int = 0
