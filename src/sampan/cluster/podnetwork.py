"""The pod network of this machine, in the words of ``sampan.network``: set up for the range that the Node was given.

The control plane divides the cluster's range among the nodes; what this one got is in its own Node object and nowhere
else. Used by the node process, and by ``down`` for taking everything away again.
"""

from __future__ import annotations

import asyncio
import logging

from sampan.api.errors import ApiError
from sampan.api.faults import fault
from sampan.api.resources import NODES
from sampan.client.client import Client
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.network import cni

#: Between two questions when the API server does not answer.
RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)


def config(instance: Instance, node_range: str = "") -> cni.CniConfig:
    """``node_range`` may stay empty for taking away: that goes by names."""
    return cni.CniConfig(
        instance=instance.name,
        bridge=instance.bridge,
        pod_cidr=node_range,
        conf_dir=instance.cni_conf,
        data_dir=instance.cni_data,
    )


def write_config(instance: Instance, node_range: str) -> None:
    """Writes the CNI configuration and sets the kernel switches that pods need. Idempotent. Raises NetworkError."""
    cni.setup(config(instance, node_range))


async def node_range(client: Client, node_name: str, *, other_than: str = "") -> str:
    """The node's ``podCIDR``, once there is one; ``other_than``: once a Node that was made anew has another."""
    while True:
        try:
            async with client.watch(NODES, field_selector=f"metadata.name={node_name}") as events:
                async for event in events:
                    given: str = event.object.get("spec", {}).get("podCIDR", "")
                    if event.type in ("ADDED", "MODIFIED") and given not in ("", other_than):
                        return given
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("node %s: its pod range cannot be read: %s", node_name, error)
            await asyncio.sleep(RETRY_SECONDS)


async def teardown(instance: Instance) -> None:
    """Removes the bridge, the nftables table and address reservations. Raises ClusterError."""
    try:
        await cni.teardown(config(instance))
    except cni.NetworkError as error:
        raise ClusterError(
            f"the network of cluster {instance.name!r} cannot be removed: {error}", fix="mend that and try again"
        ) from error
    except OSError as error:
        raise ClusterError(
            f"the network of cluster {instance.name!r} cannot be removed: {fault(error, 'exec')}",
            fix="apt-get install -y iproute2 nftables",
        ) from error
