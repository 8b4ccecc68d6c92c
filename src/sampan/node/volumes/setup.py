"""What a volume needs on disk, as data: a volume type's ``prepare`` reads the API and returns one of these.

``apply.py`` makes it so. Declarations only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sampan.api.types import Obj
from sampan.node.env.fields import PodFacts
from sampan.node.env.sources import ObjectSource
from sampan.node.volumes.atomic import Payload
from sampan.node.volumes.ownership import Ownership
from sampan.node.volumes.tokens import TokenSource


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a volume type may ask for."""

    pod: Obj
    source: ObjectSource
    tokens: TokenSource
    ownership: Ownership
    facts: PodFacts = field(default_factory=PodFacts)

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])


@dataclass(frozen=True, slots=True)
class ScratchSetup:
    """A directory that lives as long as the pod. ``size_bytes`` bounds a tmpfs."""

    memory: bool = False
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class FilesSetup:
    """Files that Sampan writes and the pod reads. ``memory``: they are secrets and touch no disk."""

    payload: Payload
    memory: bool = False
    #: when to prepare again although nothing changed (tokens)
    renew_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HostSetup:
    """A path that belongs to the machine: used where it is, never created under the pod and never deleted."""

    path: Path
    type: str = ""
    read_only: bool = False
    #: fsGroup applies to local volumes and not to hostPath
    owned: bool = False


Setup = ScratchSetup | FilesSetup | HostSetup


def modes(source: Mapping[str, object], default: int = 0o644) -> int:
    """``defaultMode`` of a volume source."""
    value = source.get("defaultMode")
    return value if isinstance(value, int) else default
