"""Texts in quotes, as Go's %q shows them in messages."""

from __future__ import annotations

import json


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
