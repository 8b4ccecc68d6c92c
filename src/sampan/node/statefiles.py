"""Files in which managers of the node keep what they gave away: what an agent before has left, and what is wrong with
it. Pure but for a line in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

log = logging.getLogger(__name__)

S = TypeVar("S")


class StateMisfit(ValueError):
    """What an agent before has left does not fit this machine and these settings; the text says what to do."""

    def __init__(self, manager: str, why: str, file: Path) -> None:
        super().__init__(
            f"the {manager}'s state does not fit: {why}; drain this node, remove {file} and start it again"
        )


def take_up(
    manager: str, file: Path, data: bytes, decode: Callable[[bytes], S | None], misfit: Callable[[S], str]
) -> S | None:
    """``data``: of ``file``, b"" when it is not there. None: nothing holds. Raises StateMisfit."""
    known = decode(data)
    if known is None:
        if data:
            log.warning("%s: %s cannot be read: what it holds is given anew", manager, file)
        return None
    if why := misfit(known):
        raise StateMisfit(manager, why, file)
    return known
