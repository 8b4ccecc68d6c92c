"""The pod network of this machine, in the words of ``sampan.network``: set up for the range that the Node was given.

The control plane divides the cluster's range among the nodes; what this one got is in its own Node object and nowhere
else. Used by the node process, and by ``down`` for taking everything away again.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import cast

from sampan.api.clock import SystemClock
from sampan.api.errors import ApiError, from_status
from sampan.api.faults import fault
from sampan.api.resources import NODES
from sampan.client.client import Client
from sampan.client.events import EventRecorder
from sampan.cluster import instance as instances
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.network import cni, mtu
from sampan.network.routes.ip import Ip, IpTable, RouteError
from sampan.network.routes.loop import PodRoutes, Told
from sampan.network.routes.overlay import LEAST_MTU, VXLAN_OVERHEAD, WIREGUARD_OVERHEAD, Overlay
from sampan.network.routes.plan import Backend
from sampan.network.routes.vxlan import Vxlan

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
    """Writes the CNI configuration, unless it is somebody else's, and sets the kernel switches that pods need.
    Idempotent. Raises NetworkError."""
    if instance.node.cni_conf_dir:
        cni.switch_on(config(instance, node_range))
    else:
        cni.setup(replace(config(instance, node_range), mtu=pod_mtu(instance)))


def pod_mtu(instance: Instance) -> int:
    """As large as what leaves this machine, less what a tunnel takes where all of it goes by tunnels. Where some does
    (``auto``) pods learn of it from their node, which tells them when a packet does not fit."""
    overhead = {"vxlan": VXLAN_OVERHEAD, "wireguard": WIREGUARD_OVERHEAD}.get(instance.cluster.pod_network_backend, {})
    return max(mtu.of_default_route() - overhead.get(instance.cluster.families[0], 0), LEAST_MTU)


def pod_routes(client: Client, instance: Instance, kubelet: Client) -> PodRoutes:
    """Raises OSError."""
    cluster, name, told = instance.cluster.pod_ranges, instance.node.name, None
    backend = cast(Backend, instance.cluster.pod_network_backend)
    overlay: Overlay = Vxlan(
        instance.cluster.overlay, name, cluster, mtu.of_default_route, cni.tunnel_table(instance.name)
    )
    if backend == "wireguard":
        # Late: few clusters have it.
        from sampan.cluster.choosing import is_free
        from sampan.network.routes.wireguard import Wireguard, keep_key

        key = keep_key(instance.state / "wireguard.json", is_free)
        overlay = Wireguard(instance.cluster.overlay, key, mtu.of_default_route)
        told = Told(kubelet, key.public, key.port, key.annotation)
    recorder = EventRecorder(kubelet, "sampan-network", name, SystemClock())
    table = IpTable(cluster)
    return PodRoutes(client, name, cluster, table, backend=backend, overlay=overlay, told=told, recorder=recorder)


def proxy_mode_file(instance: Instance) -> Path:
    """Remembers whose rules Services have on this machine."""
    return instance.state / "proxy-mode"


async def node_range(client: Client, node_name: str, *, other_than: str = "") -> str:
    """The node's ``podCIDRs``, with a comma between two, once there are any; ``other_than``: once a Node that was made
    anew has others."""
    while True:
        try:
            async with client.watch(NODES, field_selector=f"metadata.name={node_name}") as events:
                async for event in events:
                    if event.type == "ERROR":
                        raise from_status(int(event.object.get("code") or 500), event.object)
                    given = ",".join(event.object.get("spec", {}).get("podCIDRs") or ())
                    if event.type in ("ADDED", "MODIFIED") and given not in ("", other_than):
                        return given
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("node %s: its pod range cannot be read: %s", node_name, error)
        await asyncio.sleep(RETRY_SECONDS)  # also after a watch that ended: a server that ends each at once


async def teardown(instance: Instance) -> None:
    """Removes routes, tunnels, the bridge, the nftables table and address reservations. Raises ClusterError."""
    try:
        await _remove_routes(instance)
        await _remove_rules(instance)
        await cni.teardown(config(instance))
    except (cni.NetworkError, RouteError) as error:
        raise ClusterError(
            f"the network of cluster {instance.name!r} cannot be removed: {error}", fix="mend that and try again"
        ) from error
    except OSError as error:
        raise ClusterError(
            f"the network of cluster {instance.name!r} cannot be removed: {fault(error, 'exec')}",
            fix="apt-get install -y iproute2 nftables",
        ) from error


async def _remove_routes(instance: Instance) -> None:
    """Those to other nodes' pods, and the tunnels. Raises RouteError."""
    try:
        table = IpTable(_as_made(instance).cluster.pod_ranges)
    except ClusterError:  # its settings are damaged: nobody knows which are its own
        return
    await Ip().remove_device(instance.cluster.overlay)
    await table.change((), await table.present())


def _as_made(instance: Instance) -> Instance:
    """``down`` knows an instance by its name. Raises ClusterError."""
    return instances.load(instance.name, state_root=instance.state_root, run_root=instance.run_root)


async def _remove_rules(instance: Instance) -> None:
    """Of a proxy mode that is not nftables: its table goes with the rest. Raises NetworkError."""
    file = proxy_mode_file(instance)
    if not file.exists():
        return
    from sampan.network.proxy import modes
    from sampan.network.proxy.backend import BackendError

    try:
        await modes.remove(file.read_text().strip(), instance.name)
    except BackendError as error:
        raise cni.NetworkError(str(error)) from error
