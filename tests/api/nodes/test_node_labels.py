"""Labels that a node may give itself, and how its flag writes them."""

from __future__ import annotations

import pytest

from sampan.api.nodes import labels


def test_they_are_written_as_the_kubelets_flag_has_them() -> None:
    assert labels.parse("") == {}
    assert labels.parse("disk=ssd, node.kubernetes.io/rack=7,empty=") == {
        "disk": "ssd",
        "node.kubernetes.io/rack": "7",
        "empty": "",
    }


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("node-role.kubernetes.io/control-plane=", "a node may not give itself labels"),
        ("x.node-restriction.kubernetes.io/a=b", "a node may not give itself labels"),
        ("=a", "name part must be non-empty"),
        ("a=b c", "a valid label must be"),
    ],
)
def test_what_no_node_may_have_of_itself_is_refused(written: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        labels.parse(written)
