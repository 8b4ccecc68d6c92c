"""What an Event, a metric or ``sampan status`` says of an exception. Pure."""

from __future__ import annotations

from sampan.api.errors import ApiError
from sampan.api.faults import fault

LIMIT_CHARACTERS = 240


def fault_words(error: BaseException) -> str:
    """The cause in words for users: of a group the first one's. Bounded in length.

    An error of Python's own means that the fault is ours: its text helps only beside the traceback, in the log.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ApiError):
        text = error.message
    elif isinstance(error, OSError):
        text = fault(error, "use of")
    elif type(error).__module__.startswith("sampan."):
        text = str(error)
    else:
        text = ""
    return text[:LIMIT_CHARACTERS] or "an internal error; the log has it"
