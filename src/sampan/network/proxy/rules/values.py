"""Transactions on rules, as values, and who applies them. Pure.

The words are nftables': chains have rules, collections have elements. Nothing here knows Services.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

from sampan.records import dataclass

Verb: TypeAlias = Literal["add", "delete", "flush"]
CollectionKind: TypeAlias = Literal["set", "map"]


class NftError(Exception):
    """nft refused or could not run; nothing was changed."""


class NftUnavailable(NftError):
    """The program is not there or does not come to an end: what was asked of it is not the reason."""


class NftMissing(NftError):
    """Something that the transaction names does not exist."""


class NftExists(NftError):
    """A map has another value for that key."""


class NftBusy(NftError):
    """What should be deleted is still referred to."""


@dataclass(frozen=True, slots=True)
class Table:
    """The whole table; its name belongs to the ``Nft``."""


@dataclass(frozen=True, slots=True)
class Chain:
    """``hook`` makes it a base chain: ``type nat hook prerouting priority dstnat``."""

    name: str
    hook: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """Appended to its chain; rules are taken away by flushing the chain."""

    chain: str
    text: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A set or map. ``type`` as nft writes it, with the word ``typeof`` where it is one.

    ``timeout_seconds`` makes a set that packets add to.
    """

    name: str
    kind: CollectionKind
    type: str
    timeout_seconds: int = 0

    @property
    def dynamic(self) -> bool:
        return self.timeout_seconds > 0


@dataclass(frozen=True, slots=True)
class Element:
    """``key`` and ``value`` as nft writes them: ``10.96.0.1 . tcp . 443``, ``goto chain``. Sets have no value."""

    collection: Collection
    key: str
    value: str = ""


NftObject: TypeAlias = Table | Chain | Rule | Collection | Element


class Op(NamedTuple):
    verb: Verb
    object: NftObject


class Tables(Protocol):
    """Where rules are kept."""

    async def apply(self, transaction: Sequence[Op]) -> None:
        """All of it or nothing. Raises NftError and its kinds."""
        ...

    async def exists(self) -> bool:
        """Whether the table is there."""
        ...

    def close(self) -> None:
        """Lets go of what is open; may be used again."""
        ...
