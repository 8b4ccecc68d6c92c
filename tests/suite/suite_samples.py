"""How much of what is drawn at random, or gone through whole, a run of the tests goes through.

A sample finds what breaks at once; ``SAMPAN_LONG=1`` goes through all, and also through what takes minutes.
"""

from __future__ import annotations

import os

LONG = os.environ.get("SAMPAN_LONG") == "1"


def of(whole: int, sample: int) -> int:
    """So many of them."""
    return whole if LONG else sample
