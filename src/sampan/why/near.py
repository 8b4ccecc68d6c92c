"""Names that may have been meant. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN = 3


def nearest(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those most alike, the likest first: by letters, or because one begins as the other."""
    listed = sorted(set(names))[:2000]
    alike = difflib.get_close_matches(name, listed, n=_SHOWN, cutoff=0.6)
    begins = [each for each in listed if name and (each.startswith(name) or name.startswith(each))]
    return tuple(dict.fromkeys([*alike, *begins]))[:_SHOWN]
