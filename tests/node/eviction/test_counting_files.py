"""What a directory holds is counted within bounds, and whatever a pod puts there."""

from __future__ import annotations

import os
from pathlib import Path

from sampan.node.eviction.meter_linux import count_files, file_system


def test_bytes_are_those_of_the_disk_and_a_file_of_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "data").write_bytes(b"x" * 100_000)
    (tmp_path / "again").hardlink_to(tmp_path / "deep" / "er" / "data")
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 30)
    found = count_files(tmp_path)
    assert 100_000 <= found.used_bytes < 1 << 20
    assert (found.inodes, found.complete) == (5, True)


def test_links_lead_nowhere(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "outside").write_bytes(b"x" * 100_000)
    (inside / "link").symlink_to(tmp_path / "outside")
    (inside / "loop").symlink_to(inside)
    assert count_files(inside).inodes == 3
    assert count_files(inside).used_bytes < 100_000
    assert count_files(inside / "link").used_bytes < 100_000


def test_another_file_system_is_not_counted() -> None:
    proc = Path("/proc")
    assert count_files(proc / "self" / "fd").inodes >= 1
    assert file_system(proc).inodes == 0


def test_more_files_than_are_counted_are_said_to_be_more(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    found = count_files(tmp_path, files=10)
    assert (found.inodes, found.complete) == (10, False)
    assert count_files(tmp_path, files=1000).complete


def test_a_count_ends_when_its_time_is_over(tmp_path: Path) -> None:
    for number in range(600):
        (tmp_path / str(number)).touch()
    found = count_files(tmp_path, seconds=0)
    assert found.inodes == 256
    assert not found.complete


def test_what_is_not_there_uses_nothing(tmp_path: Path) -> None:
    assert count_files(tmp_path / "absent").inodes == 0
