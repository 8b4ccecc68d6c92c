"""What goes wrong with a cluster as a whole, told to a person: what happened, and what to do next."""

from __future__ import annotations


class ClusterError(Exception):
    """``fix`` is the next thing to do, a command where there is one."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
