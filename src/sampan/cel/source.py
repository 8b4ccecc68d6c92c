"""Text of an expression, places in it, and faults as cel-go shows them."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from sampan.cel.errors import CompileError

#: Faults that are told of one expression.
MAX_FAULTS: Final = 100
#: A line longer than this is not shown below a fault.
_SHOWN_LINE: Final = 10_000


class Source:
    """Collects the faults of one expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._faults: list[tuple[int, int, str]] = []
        self._starts = [0, *(index + 1 for index, char in enumerate(text) if char == "\n")]

    def fault(self, at: int, message: str) -> None:
        """Something is wrong at an offset in characters."""
        line = bisect_right(self._starts, at)
        entry = (line, at - self._starts[line - 1], message)
        if len(self._faults) < MAX_FAULTS and entry not in self._faults:
            self._faults.append(entry)

    @property
    def is_full(self) -> bool:
        """No more faults are told: nothing is gained by looking on."""
        return len(self._faults) >= MAX_FAULTS

    @property
    def ok(self) -> bool:
        return not self._faults

    def check(self) -> None:
        """Raises CompileError if anything is wrong."""
        if self._faults:
            raise CompileError("\n".join(self._show(*fault) for fault in sorted(self._faults, key=lambda f: f[:2])))

    def _show(self, line: int, column: int, message: str) -> str:
        start = self._starts[line - 1]
        end = self._starts[line] - 1 if line < len(self._starts) else len(self.text)
        shown = self.text[start:end].replace("\t", " ")
        if len(shown) > _SHOWN_LINE:
            return f"ERROR: <input>:{line}:{column + 1}: {message}"
        dots = "".join("." if ord(char) < 128 else "．" for char in shown[:column])
        wide = column < len(shown) and ord(shown[column]) >= 128
        return f"ERROR: <input>:{line}:{column + 1}: {message}\n | {shown}\n | {dots}{'＾' if wide else '^'}"
