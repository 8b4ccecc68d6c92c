"""Names of chains: the instance's, and short enough. Pure.

What ``rules`` calls a chain is ``<family>/<table>/<chain>``: each family and table has its own.
"""

from __future__ import annotations

import base64
import hashlib
import re

#: A chain's name has at most 28 characters.
_TAG = 8
_HASH = 11


def tag(instance: str) -> str:
    """The instance in eight characters; one too long is cut and told apart by its hash."""
    return instance if len(instance) <= _TAG else f"{instance[:3]}{_hashed(instance)[:5]}"


def _hashed(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()


class Names:
    """Of one instance and family."""

    def __init__(self, instance: str, version: int) -> None:
        self.prefix = f"SAM-{tag(instance)}-"
        self._version = version

    @property
    def pattern(self) -> str:
        """What matches the names of this instance's chains and no other's: "dev" is not "dev-2"."""
        return rf"{re.escape(self.prefix)}[A-Z]+(?:-[A-Z2-7]{{{_HASH}}})?"

    def short(self, kind: str, label: str = "") -> str:
        """What rules call a chain; ``label`` is of a Service's port or of one of its endpoints."""
        return self.prefix + kind + (f"-{_hashed(label)[:_HASH]}" if label else "")

    def chain(self, table: str, kind: str, label: str = "") -> str:
        return f"{self._version}/{table}/{self.short(kind, label)}"

    def builtin(self, table: str, hook: str) -> str:
        return f"{self._version}/{table}/{hook}"
