"""Every form in which people have an image becomes one plain tar."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.node.images.archives import ArchiveError, read_file, read_stream
from sampan.node.images.build import File, ImageConfig, build_image

TAR = build_image("a.example/b:1", [{"x": File(b"x" * 3000)}], ImageConfig(), "amd64")


def layout(folder: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(TAR)) as tar:
        tar.extractall(folder, filter="data")
    (folder / "notes.txt").write_text("not of the image")
    return folder


def zstandard(data: bytes) -> bytes:
    if shutil.which("zstd") is None:
        pytest.skip("needs zstd")
    return subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard])
def test_compressed_archives_are_unpacked(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(compress(TAR))
    assert b"".join(read_file(tmp_path / "image")) == TAR
    assert b"".join(read_stream(io.BytesIO(compress(TAR)), "standard input")) == TAR


def test_a_directory_with_an_oci_layout_is_the_same_image(tmp_path: Path) -> None:
    data = b"".join(read_file(layout(tmp_path)))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar, tarfile.open(fileobj=io.BytesIO(TAR)) as whole:
        files = {member.name for member in whole.getmembers() if member.isfile()}
        assert set(tar.getnames()) == files
        for name in files:
            assert tar.extractfile(name).read() == whole.extractfile(name).read()  # type: ignore[union-attr]
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "a.example/b:1"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "image is empty"),
        (gzip.compress(TAR)[:-20], "image cannot be read to its end: it is cut short"),
        (b"\x1f\x8b" + b"junk" * 10, "image cannot be read to its end: "),
        (lzma.compress(TAR)[:40] + b"junk" * 20, "image cannot be read to its end: "),
    ],
)
def test_what_cannot_be_read_is_told_with_its_name(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(content)
    with pytest.raises(ArchiveError) as caught:
        b"".join(read_file(tmp_path / "image"))
    assert words in str(caught.value)
    assert "Errno" not in str(caught.value)


@pytest.mark.parametrize("spoil", [lambda data: data[:-30], lambda data: data[:20] + bytes(40) + data[60:]])
def test_a_damaged_archive_of_zstd_is_told(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(spoil(zstandard(TAR)))
    with pytest.raises(ArchiveError, match="image cannot be read to its end: it is damaged"):
        b"".join(read_file(tmp_path / "image"))


def test_one_who_stops_reading_leaves_no_program_behind(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(zstandard(os.urandom(4 << 20)))
    pieces = read_file(tmp_path / "image")
    assert next(pieces)
    pieces.close()  # type: ignore[attr-defined]  # it is a generator
    assert not [thread for thread in threading.enumerate() if thread.name == "zstd" and thread.is_alive()]


def test_without_zstd_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "image").write_bytes(b"\x28\xb5\x2f\xfd rest")
    with pytest.raises(ArchiveError, match="image is compressed by zstd, which is not installed: apt-get install"):
        b"".join(read_file(tmp_path / "image"))


def test_a_directory_that_is_no_layout_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is no OCI image layout"):
        b"".join(read_file(tmp_path))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no such file or directory"):
        b"".join(read_file(tmp_path / "absent"))
