"""What is wrong with a file in which a manager of the node keeps what it gave away."""

from __future__ import annotations

from pathlib import Path


class StateMisfit(ValueError):
    """What an agent before has left does not fit this machine and these settings; the text says what to do."""

    def __init__(self, manager: str, why: str, file: Path) -> None:
        super().__init__(
            f"the {manager}'s state does not fit: {why}; drain this node, remove {file} and start it again"
        )
