"""Network policy in the words of a cluster: what enforces it on this machine, and what keeps pods until it does."""

from __future__ import annotations

import logging
from pathlib import Path

from sampan.api.errors import InternalError
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.cluster.instance import Instance
from sampan.network.cni import policy_table
from sampan.network.policy.backend import BackendError
from sampan.network.policy.enforcer import EnforcerConfig, NotYet, PolicyEnforcer
from sampan.network.policy.nft.backend import NftBackend
from sampan.network.policy.nft.nflog import Listener
from sampan.node.main import NodeNetwork
from sampan.node.pods.context import NetworkUnready

log = logging.getLogger(__name__)

_SWITCHES = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")


def enforcer(client: Client, instance: Instance) -> PolicyEnforcer:
    listener = Listener(instance.name, lambda packet: made.hear(packet))
    backend = NftBackend(policy_table(instance.name), log_group=listener.open)
    made = PolicyEnforcer(client, EnforcerConfig(node_name=instance.node.name), backend)
    return made


def for_node(enforcing: PolicyEnforcer) -> NodeNetwork:
    """What the node shows of it, and whom it waits for: a pod's containers begin when its policies are in force."""

    async def ready(pod: Obj, addresses: tuple[str, ...]) -> None:
        try:
            await enforcing.admit(pod, addresses)
        except NotYet as error:
            raise NetworkUnready(str(error)) from error

    async def report() -> Obj:
        try:
            return await enforcing.report()
        except BackendError as error:
            raise InternalError(str(error)) from error

    return NodeNetwork(ready, report, enforcing.metrics)


async def run(enforcing: PolicyEnforcer) -> None:
    """Until cancelled."""
    if any(not _is_on(switch) for switch in _SWITCHES):
        log.warning(
            "the kernel does not show nftables what pods of this node send each other; policies restrict only what"
            " comes from elsewhere and goes there (to mend it: modprobe br_netfilter, then sampan down and up)"
        )
    await enforcing.run()


def _is_on(switch: str, root: Path = Path("/proc/sys/net/bridge")) -> bool:
    path = root / switch
    return path.exists() and path.read_text().strip() == "1"
