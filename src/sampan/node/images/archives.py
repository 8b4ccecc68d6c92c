"""Image archives in the forms that people have them, as one plain tar in pieces.

A file or a stream, plain or compressed by gzip, bzip2, xz or zstd, or an OCI layout in a directory. Reads as it goes;
nothing is held whole.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from sampan.api.faults import fault
from sampan.node.images import zstd
from sampan.node.images.zstd import ArchiveError

__all__ = ["ArchiveError", "read_file", "read_stream"]

_PIECE_BYTES = 1 << 20
_BLOCK_BYTES = 512
_ZSTD = b"\x28\xb5\x2f\xfd"


def read_file(path: Path) -> Iterator[bytes]:
    """Raises ArchiveError, at once or on the way."""
    if path.is_dir():
        yield from _tar_of_layout(path)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise ArchiveError(fault(error)) from error
    with file:
        yield from read_stream(file, str(path))


def read_stream(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """The stream stays open. Raises ArchiveError, at once or on the way."""
    buffered: io.BufferedReader[Any]
    if isinstance(stream, io.BufferedReader):
        buffered = stream
    else:
        buffered = io.BufferedReader(cast(io.RawIOBase, stream), _PIECE_BYTES)
    opened: IO[bytes] | None = None
    try:
        opened = _decompressed(buffered, name)
        first = opened.read(_PIECE_BYTES)
        if not first:
            raise ArchiveError(f"{name} is empty")
        yield first
        while piece := opened.read(_PIECE_BYTES):
            yield piece
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ArchiveError(f"{name} cannot be read to its end: {_words(error)}") from error
    finally:
        if opened is not None and opened is not buffered:
            opened.close()  # of what decompresses; the stream stays open
        if buffered is not stream:
            buffered.detach()


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return fault(error, "read")
    return "it is cut short" if isinstance(error, EOFError) else "it is damaged"


def _decompressed(stream: io.BufferedReader[Any], name: str) -> IO[bytes]:
    head = stream.peek(6)[:6]
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    if head.startswith(b"BZh"):
        return bz2.BZ2File(stream)
    if head.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(stream)
    if head.startswith(_ZSTD):
        return cast(IO[bytes], zstd.opened(stream, name))
    return stream


def _tar_of_layout(folder: Path) -> Iterator[bytes]:
    """What the image specification names, and nothing else that lies there."""
    if not (folder / "oci-layout").is_file() or not (folder / "index.json").is_file():
        raise ArchiveError(f"{folder} is no OCI image layout: it has no oci-layout and index.json")
    files = [folder / "oci-layout", folder / "index.json", *sorted((folder / "blobs").glob("*/*"))]
    try:
        for path in files:
            if path.is_file():
                yield from _tar_entry(path, str(path.relative_to(folder)))
    except OSError as error:
        raise ArchiveError(fault(error)) from error
    yield b"\0" * (2 * _BLOCK_BYTES)


def _tar_entry(path: Path, name: str) -> Iterator[bytes]:
    with path.open("rb") as file:
        info = tarfile.TarInfo(name)
        info.size = size = path.stat().st_size
        yield info.tobuf(tarfile.PAX_FORMAT)
        while size > 0 and (piece := file.read(min(size, _PIECE_BYTES))):
            size -= len(piece)
            yield piece
        if size:
            raise ArchiveError(f"{path} became shorter while it was read")
    yield b"\0" * (-info.size % _BLOCK_BYTES)
