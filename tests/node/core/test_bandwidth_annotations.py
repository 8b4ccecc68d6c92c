"""Which bandwidth annotations a pod may have: the others are told by its FailedCreatePodSandBox."""

from __future__ import annotations

import pytest

from sampan.node.pods.bandwidth import ANNOTATIONS, verify
from sampan.node.pods.security import SandboxRefused


@pytest.mark.parametrize("name", ANNOTATIONS)
@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("999", r"unreasonably small \(< 1kbit\)"),
        ("-1M", r"unreasonably small \(< 1kbit\)"),
        ("1000001G", r"unreasonably large \(> 1Pbit\)"),
        ("fast", "quantities must match"),
        ("", "quantities must match"),
    ],
)
def test_a_bandwidth_that_makes_no_sense_refuses_the_sandbox(name: str, written: str, why: str) -> None:
    with pytest.raises(SandboxRefused, match=why):
        verify({"metadata": {"annotations": {name: written}}})


@pytest.mark.parametrize("written", ["1k", "10M", "1Gi", "1P", "999.5"])
def test_other_bandwidths_are_taken_and_so_are_pods_without(written: str) -> None:
    verify({"metadata": {"annotations": dict.fromkeys(ANNOTATIONS, written)}})
    verify({"metadata": {}})
