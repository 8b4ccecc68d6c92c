"""What a failed call of a driver means for whoever made it: the class says what to do next.

The text is the one that Go's gRPC gives (``rpc error: code = Internal desc = …``), since events are matched on it;
values of the request's secrets are masked in it, and it is cut at 4 KiB.
"""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST_TEXT = 4096
_MASK = "***stripped***"


class DriverError(Exception):
    """A call that failed. ``code`` is the gRPC code in Go's spelling: ``DeadlineExceeded``."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"rpc error: code = {code} desc = {details}")
        self.code = code
        self.details = details


class Uncertain(DriverError):
    """It may have happened, or go on still: repeat it, or undo it before it is forgotten."""


class Final(DriverError):
    """It did not happen: repeating is harmless, forgetting is too."""


class Infeasible(Final):
    """It did not happen and will not with these arguments."""


class Lacks(Final):
    """The driver does not have this call."""


_UNCERTAIN = {"Canceled", "DeadlineExceeded", "Unavailable", "ResourceExhausted", "Aborted"}
_INFEASIBLE = {"InvalidArgument", "OutOfRange", "NotFound"}


def go_code(name: str) -> str:
    """``DEADLINE_EXCEEDED`` as Go writes it; gRPC's ``CANCELLED`` has one l less there."""
    return {"OK": "OK", "CANCELLED": "Canceled"}.get(name) or "".join(part.capitalize() for part in name.split("_"))


def driver_error(code: str, details: str, secrets: Iterable[str] = ()) -> DriverError:
    """``code`` as ``go_code`` gives it. ``secrets``: values that must not be in the text."""
    for secret in sorted((secret for secret in secrets if secret), key=len, reverse=True):
        details = details.replace(secret, _MASK)
    details = details[:_LONGEST_TEXT]
    if code in _UNCERTAIN:
        return Uncertain(code, details)
    if code in _INFEASIBLE:
        return Infeasible(code, details)
    return (Lacks if code == "Unimplemented" else Final)(code, details)
