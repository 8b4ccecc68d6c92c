"""What a VolumeAttributesClass may ask of a volume: how the kernel treats the loop device that it is on. Pure.

- ``readAheadKiB``: how much is read ahead of a reader that goes through a file, 0 to 65536; as the
  kernel has it unless it is said.
- ``directIO``: ``true`` keeps what pods read and write out of the node's page cache a second time, below the volume's
  own file system; ``false`` unless it is said.

What a class does not name stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sampan.csi.server import Refusal
from sampan.records import dataclass

READ_AHEAD: Final = "readAheadKiB"
DIRECT_IO: Final = "directIO"
#: names of claims and volumes that a sidecar may add
_METADATA: Final = "csi.storage.k8s.io/"
_MOST_KIB: Final = 65536
#: the kernel counts in pages
_PAGE_KIB: Final = 4


@dataclass(frozen=True, slots=True)
class Tuning:
    """Of a device; by itself as the kernel makes one. ``read_ahead_kib`` None: as it had before it was tuned."""

    read_ahead_kib: int | None = None
    direct_io: bool = False


def read(given: Mapping[str, str]) -> dict[str, str]:
    """Without what is not for the driver. Raises Refusal."""
    found = {key: value for key, value in given.items() if not key.startswith(_METADATA)}
    for key, value in found.items():
        if key == READ_AHEAD:
            # Python reads no number of thousands of digits.
            short = value.isascii() and value.isdigit() and len(value) <= len(str(_MOST_KIB))
            if not (short and int(value) <= _MOST_KIB and int(value) % _PAGE_KIB == 0):
                words = f"is not a multiple of {_PAGE_KIB} from 0 to {_MOST_KIB}"
                raise Refusal("INVALID_ARGUMENT", f"{key}: {value[:60]} {words}")
        elif key == DIRECT_IO:
            if value not in ("true", "false"):
                raise Refusal("INVALID_ARGUMENT", f"{key}: {value} is neither true nor false")
        else:
            raise Refusal("INVALID_ARGUMENT", f"{key} is not known: there are {READ_AHEAD} and {DIRECT_IO}")
    return found


def tuning(attributes: Mapping[str, str]) -> Tuning:
    """``attributes`` as ``read`` gave them."""
    ahead = attributes.get(READ_AHEAD)
    return Tuning(None if ahead is None else int(ahead), attributes.get(DIRECT_IO) == "true")
