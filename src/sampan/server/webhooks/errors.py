"""What calling a webhook may raise."""

from __future__ import annotations


class CallError(Exception):
    """The webhook could not be asked, or did not answer as one; the text is the reference's, for whoever asked.

    ``code``: of the HTTP answer, or what upstream makes of there being none. ``timed_out``: none came in time.
    """

    def __init__(self, text: str, code: int = 503, *, timed_out: bool = False) -> None:
        super().__init__(text)
        self.code, self.timed_out = code, timed_out
