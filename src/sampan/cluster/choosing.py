"""Which ports and address ranges a cluster gets: what a person asked for, and for the rest the first that is free.

Two clusters of one machine must share nothing, or the second breaks the first: their names on the machine differ
anyhow, so it is ports and ranges that are chosen apart here. The choice is the same each time for the same machine, and
the instance's settings keep it. ``choose`` and ``change`` are pure given ``Machine``; ``machine_now`` looks.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

from sampan.cluster import instance as instances
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.ranges import Network, overlap, read
from sampan.cluster.settings import ClusterSettings
from sampan.records import dataclass

#: Fields of the settings, by the option that gives them.
CLUSTER_OPTIONS = {
    "--api-port": "api_port",
    "--pod-cidr": "pod_cidr",
    "--node-cidr-mask": "node_cidr_mask",
    "--node-cidr-mask-ipv6": "node_cidr_mask_ipv6",
    "--service-cidr": "service_cidr",
    "--node-port-range": "node_ports",
    "--enable-admission-plugins": "enable_admission_plugins",
    "--disable-admission-plugins": "disable_admission_plugins",
    "--admission-control-config-file": "admission_config",
    "--scheduler-config": "scheduler_config",
    "--scheduler-plugins": "scheduler_plugins",
    "--horizontal-pod-autoscaler-sync-period": "autoscaler_sync_seconds",
    "--horizontal-pod-autoscaler-downscale-stabilization": "autoscaler_downscale_stabilization_seconds",
    "--horizontal-pod-autoscaler-tolerance": "autoscaler_tolerance",
    "--horizontal-pod-autoscaler-cpu-initialization-period": "autoscaler_cpu_initialization_seconds",
    "--horizontal-pod-autoscaler-initial-readiness-delay": "autoscaler_initial_readiness_seconds",
    "--runtime-config": "runtime_config",
    "--feature-gates": "feature_gates",
    "--gateway-api": "gateway_api",
    "--ingress-classes": "ingress_classes",
    "--loadbalancer-pool": "loadbalancer_pool",
    "--pod-network-backend": "pod_network_backend",
    "--store": "store",
    "--etcd-servers": "etcd_endpoints",
    "--etcd-cafile": "etcd_cafile",
    "--etcd-certfile": "etcd_certfile",
    "--etcd-keyfile": "etcd_keyfile",
    "--etcd-prefix": "etcd_prefix",
}
NODE_OPTIONS = {
    "--kubelet-port": "kubelet_port",
    "--dns-port": "dns_port",
    "--ingress": "ingress",
    "--ingress-http-port": "ingress_http_port",
    "--ingress-https-port": "ingress_https_port",
    "--node-name": "name",
    "--node-address": "given_address",
    "--runtime": "runtime",
    "--cni-conf-dir": "cni_conf_dir",
    "--proxy-mode": "proxy_mode",
    "--ipvs-scheduler": "ipvs_scheduler",
    "--nodeport-addresses": "nodeport_addresses",
    "--allowed-unsafe-sysctls": "allowed_unsafe_sysctls",
    "--node-labels": "node_labels",
    "--kubelet-config": "kubelet_config",
    "--cloud-provider": "cloud_provider",
    "--simulate": "simulate",
    "--image-credential-provider-config": "credential_provider_config",
    "--image-credential-provider-bin-dir": "credential_provider_bin_dir",
    "--etcd-client-port": "etcd_client_port",
    "--etcd-peer-port": "etcd_peer_port",
    "--etcd-program": "etcd_program",
    "--etcd-endpoint": "etcd_endpoint",
}
#: What a stopped cluster can be given anew. All else is in certificates, in the store and in running applications.
CHANGEABLE = frozenset({
    "--api-port", "--kubelet-port", "--dns-port", "--node-address", "--runtime", "--allowed-unsafe-sysctls",
    "--enable-admission-plugins", "--disable-admission-plugins", "--admission-control-config-file", "--simulate",
    "--scheduler-config", "--scheduler-plugins",
    *(option for option in CLUSTER_OPTIONS if option.startswith("--horizontal-pod-autoscaler-")),
    "--cni-conf-dir", "--runtime-config", "--feature-gates", "--gateway-api", "--kubelet-config", "--cloud-provider",
    "--ingress", "--ingress-http-port", "--ingress-https-port", "--ingress-classes",
    "--loadbalancer-pool", "--pod-network-backend",
    "--image-credential-provider-config", "--image-credential-provider-bin-dir",
    "--proxy-mode", "--ipvs-scheduler", "--nodeport-addresses",
    "--etcd-servers", "--etcd-cafile", "--etcd-certfile", "--etcd-keyfile", "--etcd-client-port", "--etcd-program",
    "--etcd-endpoint",
})  # fmt: skip
#: The ports that programs listen on, by option.
_PORTS = {
    "--api-port": 6443, "--kubelet-port": 10250, "--dns-port": 10053, "--ingress-http-port": 80,
    "--ingress-https-port": 443,
}  # fmt: skip
#: And those of a member of etcd, where there is one.
_ETCD_PORTS = {"--etcd-client-port": 2379, "--etcd-peer-port": 2380}
#: Where the ports begin that are tried after a well-known one.
_AFTER_WELL_KNOWN = {80: 8080, 443: 8443}
_PORT_STEP = 100
#: Where the kernel's own choice for outgoing connections begins (ip(7), ip_local_port_range).
_HIGHEST_PORT = 32767
#: Node ports of further clusters, below those of the first.
_NODE_PORTS_BELOW, _NODE_PORTS_COUNT = range(29000, 11000, -1000), 1000


@dataclass(frozen=True, slots=True)
class Given:
    """Options that a person gave, by name; the others are left to us."""

    options: Mapping[str, Any] = field(default_factory=dict)
    #: this machine's own node is wanted beside simulated ones
    with_node: bool = False
    #: of addresses, by version, the first one first; none: as ranges that are given have them, or IPv4
    families: tuple[int, ...] = ()

    def cluster(self, settings: ClusterSettings) -> ClusterSettings:
        return dataclasses.replace(settings, **self._fields(CLUSTER_OPTIONS))

    def node(self, settings: NodeSettings) -> NodeSettings:
        return dataclasses.replace(settings, **self._fields(NODE_OPTIONS))

    def _fields(self, options: Mapping[str, str]) -> dict[str, Any]:
        return {options[option]: value for option, value in self.options.items() if option in options}


@dataclass(frozen=True, slots=True)
class Machine:
    """The other instances, networks that this machine already sends somewhere, and whether a port is free."""

    others: tuple[Instance, ...] = ()
    routes: tuple[Network, ...] = ()
    is_free: Callable[[int], bool] = lambda port: True


def choose(instance: Instance, given: Given, machine: Machine) -> Instance:
    """A new instance's settings. Raises ClusterError for what cannot work or belongs to another instance."""
    asked = dataclasses.replace(instance, cluster=given.cluster(instance.cluster), node=given.node(instance.node))
    options = dict(given.options)
    taken = [network for other in machine.others for network in _networks(other)]
    families = given.families or _families(options)
    for option, candidates in _RANGES.items():
        if option not in options:
            chosen_ranges = []
            for version in families:
                avoid = [*taken, *machine.routes, *_given_ranges(options)]
                chosen_ranges.append(_first_range(option, candidates[version](), avoid))
            options[option] = ",".join(chosen_ranges)
        elif given.families and tuple(network.version for network in _read(options[option])) != given.families:
            raise ClusterError(
                f"{option} {options[option]} is not of the families that --ip-family asks for",
                fix="leave one of the two options out",
            )
    if "--node-port-range" not in options:
        options["--node-port-range"] = _node_ports(options, machine)
    blocks = [options["--node-port-range"], *(other.cluster.node_ports for other in machine.others)]
    used = {port for other in machine.others for port in _ports(other).values()}
    ports = _PORTS | (_ETCD_PORTS if instance.node.runs_etcd else {})
    for option, first in ports.items():
        if option not in options:
            used |= {options[name] for name in ports if name in options}
            options[option] = _first_port(option, first, used, blocks, machine)
    whole = Given(options)
    chosen = dataclasses.replace(asked, cluster=whole.cluster(asked.cluster), node=whole.node(asked.node))
    chosen.validate()
    refuse_clash(chosen, machine.others)
    if chosen.node.runs_containers:
        _refuse_routed(chosen, machine.routes)
    return chosen


def change(instance: Instance, given: Given, machine: Machine, *, running: bool) -> Instance:
    """An instance that exists, with what is given anew. Raises ClusterError, naming what cannot change."""
    wanted = dataclasses.replace(instance, cluster=given.cluster(instance.cluster), node=given.node(instance.node))
    had, wants = _options(instance), _options(wanted)
    changed = [option for option in given.options if had[option] != wants[option]]
    for option in changed:
        if option not in CHANGEABLE:
            raise ClusterError(
                f"cluster {instance.name!r} was made with {option} {_text(had[option])}, which cannot become "
                f"{_text(wants[option])}",
                fix=f"leave {option} out, or make another cluster with --name",
            )
    if changed:
        wanted.validate()  # before the advice to stop it for this
    if changed and running:
        words = " ".join(_typed(option, wants[option]) for option in changed)
        raise ClusterError(
            f"cluster {instance.name!r} is running with "
            + ", ".join(_typed(option, had[option], "chosen by the machine") for option in changed),
            fix=f"`{instance.command('down')}`, then `{instance.command('up')} {words}`",
        )
    if changed:
        refuse_clash(wanted, machine.others)
    return wanted


_CHOSEN: Final = "leave the option out and a free one is chosen"


def refuse_clash(instance: Instance, others: Iterable[Instance]) -> None:
    """Raises ClusterError when an instance has a port or an address that another one has."""
    for other in others:
        for option, port in _ports(instance).items():
            low, high = other.cluster.node_ports
            if port in _ports(other).values() or low <= port <= high:
                # Nothing chooses that one: without the option there is no endpoint.
                free = "give another port" if option == "--etcd-endpoint" else _CHOSEN
                raise _clash(instance, f"{option} {port}", other, free)
        (low, high), (below, above) = instance.cluster.node_ports, other.cluster.node_ports
        if (low <= above and below <= high) or any(low <= port <= high for port in _ports(other).values()):
            raise _clash(instance, f"--node-port-range {low}-{high}", other, _CHOSEN)
        for option, text in _ranges(instance).items():
            for theirs in _networks(other):
                if any(overlap(mine, theirs) for mine in _read(text)):
                    raise _clash(
                        instance, f"{option} {text}", other, f"leave the option out, or choose one apart from {theirs}"
                    )


def _refuse_routed(instance: Instance, routes: Iterable[Network]) -> None:
    """Raises ClusterError when a range is one that the machine sends elsewhere: it would lose that network, its own
    gateway with it. Pods of somebody else's network are where that one's routes lead."""
    for option, text in _ranges(instance).items():
        if option == "--pod-cidr" and instance.node.cni_conf_dir:
            continue
        for routed_range in routes:
            if any(overlap(mine, routed_range) for mine in _read(text)):
                raise ClusterError(
                    f"{option} {text} overlaps {routed_range}, a network that this machine is on or has a route to",
                    fix="leave the option out and a free range is chosen, or name one apart from it (`ip route`)",
                )


def _clash(instance: Instance, what: str, other: Instance, fix: str) -> ClusterError:
    return ClusterError(
        f"{what} of cluster {instance.name!r} belongs to cluster {other.name!r} of this machine", fix=fix
    )


def _ports(instance: Instance) -> dict[str, int]:
    ports = (*_PORTS, *_ETCD_PORTS) if instance.node.runs_etcd else _PORTS
    found = {option: _options(instance)[option] for option in ports}
    served = instance.node.etcd_endpoint_port
    return found | ({"--etcd-endpoint": served} if served else {})


def _ranges(instance: Instance) -> dict[str, str]:
    return {"--pod-cidr": instance.cluster.pod_cidr, "--service-cidr": instance.cluster.service_cidr}


def _networks(instance: Instance) -> list[Network]:
    return [network for text in _ranges(instance).values() for network in _read(text)]


def _read(text: str) -> tuple[Network, ...]:
    """None for what cannot be read: that is refused by name when all is together."""
    try:
        return read(text)
    except ValueError:
        return ()


def _families(options: Mapping[str, Any]) -> tuple[int, ...]:
    """Those of the ranges that are given, else IPv4 alone."""
    for option in _RANGES:
        if found := tuple(dict.fromkeys(network.version for network in _read(str(options.get(option, ""))))):
            return found
    return (4,)


def _options(instance: Instance) -> dict[str, Any]:
    """The value of every option."""
    shared = {option: getattr(instance.cluster, name) for option, name in CLUSTER_OPTIONS.items()}
    return shared | {option: getattr(instance.node, name) for option, name in NODE_OPTIONS.items()}


def _typed(option: str, value: object, nothing: str = "") -> str:
    """As a person types it; ``nothing``: what stands for an empty value."""
    if isinstance(value, bool):
        return option if value else f"--no-{option.removeprefix('--')}"
    return f"{option} {_text(value) or nothing}"


def _text(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


# Candidates, in the order in which they are tried


def _pod_ranges() -> Iterator[Network]:
    """10.244.0.0/14, where everybody looks for pods, then those below it; at last smaller ones of other networks."""
    for second in range(244, 124, -4):
        yield IPv4Network(f"10.{second}.0.0/14")
    yield from IPv4Network("172.16.0.0/12").subnets(new_prefix=16)
    yield from IPv4Network("192.168.0.0/16").subnets(new_prefix=20)


def _service_ranges() -> Iterator[Network]:
    for second in range(96, 124):
        yield IPv4Network(f"10.{second}.0.0/16")
    yield from IPv4Network("172.16.0.0/12").subnets(new_prefix=20)
    yield from IPv4Network("192.168.0.0/16").subnets(new_prefix=22)


def _pod_ranges_ipv6() -> Iterator[Network]:
    """fd00:10:244::/56, as kind has it: 256 nodes with a /64 each; then those after it."""
    for third in range(0x244, 0x2FF):
        yield IPv6Network(f"fd00:10:{third:x}::/56")


def _service_ranges_ipv6() -> Iterator[Network]:
    for third in range(0x96, 0xFF):
        yield IPv6Network(f"fd00:10:{third:x}::/112")


_RANGES: dict[str, dict[int, Callable[[], Iterator[Network]]]] = {
    "--pod-cidr": {4: _pod_ranges, 6: _pod_ranges_ipv6},
    "--service-cidr": {4: _service_ranges, 6: _service_ranges_ipv6},
}


def _given_ranges(options: Mapping[str, Any]) -> list[Network]:
    return [network for option in _RANGES for network in _read(str(options.get(option, "")))]


def _first_range(option: str, candidates: Iterable[Network], avoid: list[Network]) -> str:
    for candidate in candidates:
        if not any(overlap(candidate, other) for other in avoid):
            return str(candidate)
    raise ClusterError("no private address range is free on this machine", fix=f"name one with {option}")


def _node_ports(options: Mapping[str, Any], machine: Machine) -> tuple[int, int]:
    listening = {port for other in machine.others for port in _ports(other).values()}
    listening |= {options[option] for option in _PORTS if option in options}
    blocks = [other.cluster.node_ports for other in machine.others]
    further = ((low, low + _NODE_PORTS_COUNT - 1) for low in _NODE_PORTS_BELOW)
    for low, high in (ClusterSettings().node_ports, *further):
        if not any(low <= above and below <= high for below, above in blocks) and not any(
            low <= port <= high for port in listening
        ):
            return low, high
    raise ClusterError("no range of node ports is free on this machine", fix="name one with --node-port-range")


def _first_port(option: str, first: int, used: set[int], blocks: list[tuple[int, int]], machine: Machine) -> int:
    candidates: tuple[int, ...] = (first, *range(_AFTER_WELL_KNOWN.get(first, first), _HIGHEST_PORT, _PORT_STEP))
    for port in candidates:
        if port not in used and not any(low <= port <= high for low, high in blocks) and machine.is_free(port):
            return port
    raise ClusterError(f"no port for {option} is free on this machine", fix=f"name one with {option}")


# Looking


def machine_now(instance: Instance) -> Machine:
    """What stands on this machine beside an instance."""
    return Machine(tuple(others(instance)), (*routed(but=instance.bridge), *routed_ipv6(but=instance.bridge)), is_free)


def others(instance: Instance) -> Iterator[Instance]:
    """The other instances, running or not; a damaged one is left out: it cannot run."""
    for name in instances.names(instance.state_root):
        if name != instance.name:
            try:
                yield instances.load(name, state_root=instance.state_root, run_root=instance.run_root)
            except ClusterError:
                continue


def is_free(port: int) -> bool:
    """For TCP and UDP, on every address of this machine."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True


def routed(table: Path = Path("/proc/net/route"), *, but: str = "") -> Iterator[IPv4Network]:
    """What this machine already sends somewhere, the default route and an own interface's left out."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:  # no IPv4 routes at all
        return
    for line in lines:
        words = line.split()
        # Little-endian hexadecimal.
        address, mask = (int.from_bytes(bytes.fromhex(words[place]), "little") for place in (1, 7))
        if mask and words[0] != but:
            yield ipaddress.IPv4Network((address, mask.bit_count()))


def routed_ipv6(table: Path = Path("/proc/net/ipv6_route"), *, but: str = "") -> Iterator[IPv6Network]:
    """The same of IPv6, without single addresses, and what every interface has (link-local, multicast)."""
    try:
        lines = table.read_text().splitlines()
    except OSError:  # no IPv6 at all
        return
    for line in lines:
        words = line.split()
        network = IPv6Network((int(words[0], 16), int(words[1], 16)))
        ordinary = not (network.is_link_local or network.is_multicast)
        if 0 < network.prefixlen < 128 and ordinary and words[-1] not in ("lo", but):
            yield network
