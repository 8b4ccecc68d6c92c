"""The pod network of an instance, in the words of ``sampan.network``: its settings, and taking it away again."""

from __future__ import annotations

from sampan.cluster.instance import Instance
from sampan.network import cni


def config(instance: Instance) -> cni.CniConfig:
    return cni.CniConfig(
        instance=instance.name,
        bridge=instance.bridge,
        pod_cidr=instance.settings.node_pod_cidr,
        conf_dir=instance.cni_conf,
        data_dir=instance.cni_data,
    )


def write_config(instance: Instance) -> None:
    """Writes the CNI configuration and sets the kernel switches that pods need. Idempotent."""
    cni.setup(config(instance))


async def teardown(instance: Instance) -> None:
    """Removes the bridge, the nftables table and address reservations."""
    await cni.teardown(config(instance))
