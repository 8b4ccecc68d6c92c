"""What makes a plan real. Implemented by ``nft.backend`` and ``memory``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from sampan.network.policy.model import Direction, Policy
from sampan.network.policy.plan import Delta


class BackendError(Exception):
    """Nothing was changed; all of it is to be written anew. The message is for the log."""


class Refused(BackendError):
    """It was understood to be no good: to try again what was applied is of no use."""


class Dropped(NamedTuple):
    packets: int = 0
    bytes: int = 0


class Backend(Protocol):
    async def apply(self, delta: Delta) -> None:
        """All of it at once or nothing. A whole delta replaces what there is, without a moment in which less is
        enforced. Raises BackendError; Refused where the rules themselves are the reason."""
        ...

    async def refuses(self, policies: Sequence[Policy]) -> bool:
        """Whether these policies' rules alone cannot be applied. Changes nothing. Raises BackendError."""
        ...

    async def is_there(self) -> bool:
        """Whether what was applied is still in force, as far as a quick look shows. Raises BackendError."""
        ...

    async def dropped(self) -> Mapping[tuple[str, Direction], Dropped]:
        """What was dropped of each restricted address since it is restricted. Raises BackendError."""
        ...

    async def remove(self) -> None:
        """Enforces nothing any more. Content when nothing is there. Raises BackendError."""
        ...
