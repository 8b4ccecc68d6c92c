"""How text of anybody is put into a configuration of HAProxy, so that it stays text. Pure.

``word``: one argument, in single quotes, inside of which nothing has a meaning. ``pattern``: one that begins with a
dash is no option. ``formatted``: of a log format, where a percent sign has a meaning too.
"""

from __future__ import annotations

import hashlib
import re

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_.-]+")
_READABLE = 60
LIMITED = "(*LIMIT_MATCH=100000)"


def word(text: str) -> str:
    """Raises ValueError: a line break ends a line whatever stands around it (``edge/checking`` lets none through)."""
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError("a line break cannot be part of a configuration")
    return "'" + text.replace("'", "'\\''") + "'"


def pattern(text: str) -> str:
    return f"-- {word(text)}"


def expression(text: str) -> str:
    """A pattern that is a regular expression of anybody's: a match that takes more than a few milliseconds is none.
    Without the limit PCRE tries for 0.2 s, a thread and its connections wait, and an Ingress may have many."""
    return pattern(f"{LIMITED}{text}")


def formatted(text: str) -> str:
    return word(text.replace("%", "%%"))


def name(readable: str, *parts: str) -> str:
    """A name for a section: what a reader knows, and a hash of all that makes it another one."""
    digest = hashlib.sha256("\0".join((readable, *parts)).encode()).hexdigest()[:10]
    return f"{_UNNAMEABLE.sub('_', readable)[:_READABLE]}_{digest}"


def milliseconds(seconds: float) -> str:
    """HAProxy takes at most 24 days; 0 is that long, for it knows no "never"."""
    most = 24 * 24 * 3600 * 1000
    return f"{min(max(1, round(seconds * 1000)), most) if seconds > 0 else most}ms"
