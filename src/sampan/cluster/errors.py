"""What goes wrong with a cluster as a whole, told to a person: what happened, and what to do next."""

from __future__ import annotations


class ClusterError(Exception):
    """``fix`` is the next thing to do, a command where there is one."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class WrongUsage(ClusterError):
    """The command was not understood, or is given what it cannot work on: exit code 2, as for wrong options."""
