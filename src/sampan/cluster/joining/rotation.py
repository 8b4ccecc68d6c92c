"""New certificates for a node that joined, asked for with those that it has.

Started by the node process (``nodecertificates``) for the certificates whose time has come; ends when they are written.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from sampan.cluster import kubeconfigs, nodecertificates, pki, servers
from sampan.cluster.arguments import log_to_stderr
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance, load
from sampan.cluster.joining import asking
from sampan.cluster.joining.wanted import BOOTSTRAP_SECONDS


async def renew(instance: Instance, stems: Sequence[str]) -> None:
    """Raises ClusterError, OSError."""
    leaves = {leaf.stem: leaf for leaf in pki.node_leaves(instance.node.name, instance.node.addresses)}
    connection = kubeconfigs.connection(instance, "kubelet-client")
    async with asking.connected(connection, servers.of(instance)) as client:
        for stem in stems:
            made = await asking.certificate(client, leaves[stem], BOOTSTRAP_SECONDS, lambda text: None)
            nodecertificates.keep(instance, {f"{stem}.crt": made[0].decode(), f"{stem}.key": made[1].decode()})
    kubeconfigs.write_all(instance)


def main() -> int:
    parser = argparse.ArgumentParser(description="Renews certificates of a node")
    parser.add_argument("--name", required=True)
    parser.add_argument("--state-root", type=Path, required=True)
    parser.add_argument("--run-root", type=Path, required=True)
    parser.add_argument("--stems", required=True)
    chosen = parser.parse_args()
    log_to_stderr()
    try:
        instance = load(chosen.name, state_root=chosen.state_root, run_root=chosen.run_root)
        asyncio.run(renew(instance, chosen.stems.split(",")))
    except (ClusterError, OSError) as error:
        sys.stderr.write(f"certificates are not renewed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
