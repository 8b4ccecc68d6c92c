"""What ``--simulate`` is given: a number, or a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.cluster import simulation
from sampan.cluster.errors import ClusterError


def test_a_number_and_a_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "nodes.yaml").write_text("nodes: [{name: a, count: 2}, {name: b}]")
    assert simulation.read("20").count == 20
    assert simulation.read(str(tmp_path / "nodes.yaml")).count == 3


@pytest.mark.parametrize(
    ("content", "words", "fix"),
    [
        ("nodes: [{nme: a}]", r"nodes\[0\]: unknown field nme", "docs/testing.md"),
        ("{ : [", "the file is not YAML", "docs/testing.md"),
        (None, "no such file", "a number of nodes"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, content: str | None, words: str, fix: str) -> None:
    path = tmp_path / "nodes.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ClusterError, match=words) as refused:
        simulation.read(str(path))
    assert fix in refused.value.fix


def test_too_large_a_number_is_not_sent_to_the_documentation_of_files() -> None:
    with pytest.raises(ClusterError, match="from 0 to 5000") as refused:
        simulation.read("99999")
    assert refused.value.fix.startswith("give a number")
