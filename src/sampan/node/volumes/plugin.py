"""What a volume plug-in is: one type of volume, as verbs that the node's volume manager calls.

``prepare`` reads the API and says what is needed; the other verbs act, in a thread. They go by pairs, as in the
Container Storage Interface: ``stage`` once a node for a volume that several pods share, ``publish`` once a pod, and
``unpublish``, ``unstage`` to undo them. Before each a record is on disk (``records``), so the undoing verbs are called
after a crash at any point: every verb is idempotent, and an undoing one may find nothing done.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from sampan.api.types import Obj
from sampan.node.env.fields import PodFacts
from sampan.node.env.sources import ObjectSource
from sampan.node.volumes import layout
from sampan.node.volumes.mount import Mounter
from sampan.node.volumes.ownership import Ownership
from sampan.node.volumes.podcertificate import CertificateSource, NoCertificates
from sampan.node.volumes.records import Record
from sampan.node.volumes.tokens import TokenSource
from sampan.node.volumes.usage import VolumeUsage
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that ``prepare`` may ask for."""

    pod: Obj
    source: ObjectSource
    tokens: TokenSource
    ownership: Ownership
    facts: PodFacts = field(default_factory=PodFacts)
    certificates: CertificateSource = field(default_factory=NoCertificates)
    #: the PersistentVolumeClaim that the volume stands for, and what it is bound to
    claim: Obj | None = None
    persistent_volume: Obj | None = None

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What one volume of one pod needs; each plug-in adds what is its own."""

    read_only: bool = False
    #: when to prepare again although nothing changed (tokens)
    renew_at: datetime | None = None
    #: how large it is to be; more than the record says: it is expanded
    size_bytes: int | None = None
    #: names the volume on this node, for every pod that uses it; "": there is nothing to stage
    stage_id: str = ""
    #: a device of the node, which containers get as a device of theirs
    block: bool = False
    #: what undoing needs to know; part of the record
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a verb acts, and with what."""

    #: the volume's own directory below the pod's; whoever publishes makes it
    target: Path
    #: the directory that the volume was staged at, which is there; for ``stage``, where it is to be
    staged: Path | None
    mounter: Mounter
    ownership: Ownership
    now: datetime
    #: where this process published the volume before, for the same pod
    before: Path | None = None


P = TypeVar("P", bound=Prepared)


class VolumePlugin(ABC, Generic[P]):
    """Acting verbs are synchronous, and raise OSError or SetupError."""

    #: as upstream names it; recorded, and part of the path
    name: str

    #: it does what ``mountOptions`` of a PersistentVolume say
    takes_mount_options = False
    #: its mounts are read-only and have flags of their own, which a runtime that makes them read-only would lose
    seals_its_mounts = False
    #: what is used of a volume is what its file system says
    is_a_file_system = False

    @abstractmethod
    async def prepare(self, volume: Obj, context: Context) -> P:
        """``volume``: the field of the type and what it holds. Waits for what has to happen first (an attachment)
        by raising SetupError, which is tried again."""

    async def published(self, prepared: P, context: Context, path: Path) -> None:
        """What is left to do on the event loop after each ``publish`` that succeeded. Never raises."""

    async def measure(self, data: Mapping[str, str], path: Path) -> VolumeUsage | None:
        """What of it is used, given a record's data and where it is published. None: it cannot say. Raises
        Unmeasured."""
        return None

    def forget_pod(self, uid: str) -> None:
        """The pod's volumes are gone from the node."""

    def lane(self, data: Mapping[str, str]) -> str:
        """Whose program or disk the acting verbs wait for, given a record's data; "": none but the node's."""
        return ""

    def stage_directory(self, root: Path, stage_id: str, data: Mapping[str, str]) -> Path:
        """A directory of this volume alone: the record of what is staged is in it, and what ``stage_name`` names."""
        digest = hashlib.sha256(f"{self.name}\0{stage_id}".encode()).hexdigest()
        return layout.staged(root) / digest[:32]

    #: where in that directory the volume is staged
    stage_name = "mount"

    def stage_directories(self, root: Path) -> Iterable[Path]:
        """All that ``stage_directory`` made, and perhaps those of others."""
        return layout.directories(layout.staged(root))

    def stage(self, prepared: P, place: Place) -> None:
        """Makes the volume present at ``place.staged``."""

    @abstractmethod
    def publish(self, prepared: P, place: Place) -> Path:
        """Makes the volume present and current for the pod; returns where it is."""

    def expand(self, prepared: P, place: Place) -> None:
        """Makes what is published as large as ``prepared.size_bytes``."""

    def unpublish(self, record: Record, place: Place) -> None:
        """Takes away what ``publish`` did outside the target's directory, and what it mounted there. The directory
        itself goes with the pod's."""
        place.mounter.unmount(place.target)

    def unstage(self, record: Record, place: Place) -> None:
        """Takes away what ``stage`` did. No pod uses the volume any more."""
        if place.staged is not None:
            place.mounter.unmount(place.staged)


AnyPlugin = VolumePlugin[Any]


def modes(source: Mapping[str, object], default: int = 0o644) -> int:
    """``defaultMode`` of a volume source."""
    value = source.get("defaultMode")
    return value if isinstance(value, int) else default
