"""Whether a machine can be what its node's settings say: what the kubelet looks at before it begins.

Asked by ``sampan up`` before anything is started, so that it can say what the agent would only log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sampan.node.config import NodeConfig
from sampan.node.cpumanager import manager as cpus
from sampan.node.cpumanager.checkpoint import FILE as CPU_STATE
from sampan.node.memorymanager import manager as memory
from sampan.node.memorymanager.checkpoint import FILE as MEMORY_STATE
from sampan.node.node_status import check_reservations
from sampan.node.numa import Cell
from sampan.node.processors import Topology
from sampan.node.topology import policies


def check(
    config: NodeConfig,
    topology: Topology,
    cells: Sequence[Cell],
    *,
    cpus_there: int,
    memory_bytes: int,
    disk_bytes: int,
    read: Callable[[Path], bytes],
) -> None:
    """``read``: a file of the node's, b"" when it is not there. Raises ValueError, with what to do where only that
    says it."""
    check_reservations(config, cpus=cpus_there, memory_bytes=memory_bytes, disk_bytes=disk_bytes)
    policies.check(policies.read(config.topology_policy, config.topology_scope, config.topology_options), cells)
    if config.cpu_manager_policy == "static":
        file = config.root_dir / CPU_STATE
        cpus.restore(cpus.static_policy(config, topology), read(file), file)
    if config.memory_manager_policy == "Static":
        file = config.root_dir / MEMORY_STATE
        memory.restore(memory.static_policy(config, cells, memory_bytes), read(file), file)
