"""What the kernel's log says of a machine without memory is told; what a pod's own limit cost is not."""

from __future__ import annotations

import pytest

from sampan.node.eviction.kernel_log import victim

OOM = (
    "4,1234,98765,-;oom-kill:constraint={},nodemask=(null),cpuset=/,mems_allowed=0,{},task_memcg=/kubepods/podu1,"
    "task=mysqld,pid=4711,uid=0\n"
)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (OOM.format("CONSTRAINT_NONE", "global_oom"), ("mysqld", 4711)),
        (OOM.format("CONSTRAINT_MEMCG", "oom_memcg=/kubepods/podu1"), None),
        ("6,1,1,-;veth0: entered promiscuous mode\n", None),
        ("4,1,1,-;my program says oom-kill:constraint=CONSTRAINT_NONE,task=a,pid=1\n", None),
        ("4,1,1,-;oom-kill:constraint=CONSTRAINT_NONE\n", None),
        ("", None),
    ],
    ids=["of the machine", "of a pod", "something else", "a look-alike", "without a victim", "nothing"],
)
def test_only_what_the_machine_ran_out_of_is_told(record: str, expected: tuple[str, int] | None) -> None:
    assert victim(record) == expected
