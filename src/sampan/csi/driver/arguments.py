"""What the specification demands of arguments: which are required, which values there are, with which codes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sampan.csi.driver.devices import FILESYSTEMS
from sampan.csi.driver.files import rounded
from sampan.csi.pb import csi_pb2 as csi
from sampan.csi.server import Refusal

DEFAULT_BYTES: Final = 1 << 30
#: what ext4 can be made on
LEAST_BYTES: Final = 1 << 20
_MODES: Final = csi.VolumeCapability.AccessMode
ONE_NODE: Final = frozenset(
    (
        _MODES.SINGLE_NODE_WRITER,
        _MODES.SINGLE_NODE_READER_ONLY,
        _MODES.SINGLE_NODE_SINGLE_WRITER,
        _MODES.SINGLE_NODE_MULTI_WRITER,
    )
)


def need(request: Any, *names: str) -> None:
    """Raises Refusal when a field is not there."""
    for name in names:
        field = request.DESCRIPTOR.fields_by_name[name]
        missing = not request.HasField(name) if field.message_type is not None else not getattr(request, name)
        if missing:
            raise Refusal("INVALID_ARGUMENT", f"{name} is required")


def complaint(capabilities: Iterable[Any]) -> str:
    """Why a volume cannot be used so; "": it can."""
    for each in capabilities:
        kind = each.WhichOneof("access_type")
        if kind is None:
            return "access_type is required: block or mount"
        if each.access_mode.mode not in ONE_NODE:
            return "a volume of this driver is used on its node alone: access modes of several nodes are not supported"
        if kind == "mount" and each.mount.fs_type not in ("", *FILESYSTEMS):
            return f"file system {each.mount.fs_type} is not supported: {', '.join(FILESYSTEMS)} are"
    return ""


def usable(capabilities: Iterable[Any]) -> None:
    """Raises Refusal."""
    if words := complaint(capabilities):
        raise Refusal("INVALID_ARGUMENT", words)


def filesystem_of(capability: Any) -> str:
    """ "": none, the volume is a block device."""
    return (capability.mount.fs_type or "ext4") if capability.WhichOneof("access_type") == "mount" else ""


def size_of(range_: Any, least: int = LEAST_BYTES) -> int:
    """What a range asks for, in whole blocks. Raises Refusal."""
    required, limit = range_.required_bytes, range_.limit_bytes
    if required < 0 or limit < 0 or (limit and limit < required):
        raise Refusal("OUT_OF_RANGE", f"no size is at least {required} and at most {limit} bytes")
    size = rounded(max(required, least) if required else max(min(DEFAULT_BYTES, limit or DEFAULT_BYTES), least))
    if limit and size > limit:
        raise Refusal("OUT_OF_RANGE", f"the smallest possible size is {size} bytes, the limit is {limit}")
    return size


def page(entries: list[Any], token: str, most: int) -> tuple[list[Any], str]:
    """Entries from a token on, and the token of what is left. Raises Refusal."""
    if most < 0:
        raise Refusal("INVALID_ARGUMENT", "max_entries must not be negative")
    if token and not (token.isascii() and token.isdigit() and int(token) <= len(entries)):
        raise Refusal("ABORTED", "starting_token is not one that was given")
    start = int(token or 0)
    end = start + most if most else len(entries)
    return entries[start:end], str(end) if end < len(entries) else ""
