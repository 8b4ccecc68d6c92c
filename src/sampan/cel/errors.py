"""What compiling and evaluating may raise."""

from __future__ import annotations


class CelError(Exception):
    """Base. ``str()`` is for users."""


class CompileError(CelError):
    """An expression that does not parse or check; the text lists every fault as cel-go does."""


class EvaluationError(CelError):
    """An evaluation that failed. ``&&``, ``||``, ``all`` and ``exists`` may get over it."""


class CostExceeded(CelError):
    """The budget is spent: nothing gets over that."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


def no_such_overload() -> EvaluationError:
    return EvaluationError("no such overload")


def no_such_key(key: object) -> EvaluationError:
    return EvaluationError(f"no such key: {key}")
