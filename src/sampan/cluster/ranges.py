"""Address ranges of a cluster and addresses of its machines, of one family or of both. Pure.

Written as Kubernetes' flags have them: with a comma between the two. The family that comes first is the cluster's first
one: what is of one family alone is of that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network

from sampan.cluster.errors import ClusterError

Network = IPv4Network | IPv6Network

#: The largest and the smallest range of Services, by version: for the addresses of each there are objects.
_SERVICES = {4: (8, 28), 6: (64, 124)}
#: The smallest part of a node; and how many bits may tell the nodes apart (upstream's controllers hold one for each).
_SMALLEST_PART, _NODE_BITS = {4: 28, 6: 124}, 16


def read(written: str) -> tuple[Network, ...]:
    """Raises ValueError, for spaces too: others read what is written as it is."""
    return tuple(ipaddress.ip_network(each) for each in written.split(","))


def overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def validate(pod_cidr: str, service_cidr: str, masks: Mapping[int, int]) -> None:
    """``masks``: how much of a pod range a node gets, by version. Raises ClusterError."""
    try:
        pods, services = read(pod_cidr), read(service_cidr)
    except ValueError as error:
        raise ClusterError(
            f"address range is not valid: {error}", fix="write it like 10.244.0.0/16, or 10.244.0.0/16,fd00:10:244::/56"
        ) from error
    for option, found in (("--pod-cidr", pods), ("--service-cidr", services)):
        if len({network.version for network in found}) < len(found):
            raise ClusterError(f"{option} has two ranges of one family", fix="give one, or one of IPv4 and one of IPv6")
    if [network.version for network in pods] != [network.version for network in services]:
        raise ClusterError(
            f"--pod-cidr {pod_cidr} and --service-cidr {service_cidr} are of other families, or in another order",
            fix="give both the same families in the same order: the first one is the cluster's first family",
        )
    for pod_range, service_range in zip(pods, services, strict=True):
        if overlap(pod_range, service_range):
            raise ClusterError(
                f"pod range {pod_range} and service range {service_range} overlap", fix="choose two ranges that do not"
            )
        _validate_services(service_range)
        _validate_parts(pod_range, masks[pod_range.version])


def _validate_services(network: Network) -> None:
    largest, smallest = _SERVICES[network.version]
    if not largest <= network.prefixlen <= smallest:
        size = "large" if network.prefixlen < largest else "small"
        raise ClusterError(f"--service-cidr {network} is too {size}", fix=f"choose a /{largest} to a /{smallest}")


def _validate_parts(network: Network, mask: int) -> None:
    most = min(_SMALLEST_PART[network.version], network.prefixlen + _NODE_BITS)
    if not network.prefixlen <= mask <= most:
        option = "--node-cidr-mask" if network.version == 4 else "--node-cidr-mask-ipv6"
        raise ClusterError(
            f"{option} {mask} does not divide --pod-cidr {network}",
            fix=f"choose one from {network.prefixlen} to {most}, or another pod range",
        )


def validate_addresses(texts: Iterable[str]) -> None:
    """Of a machine. Raises ClusterError."""
    versions = []
    for text in texts:
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise ClusterError(
                f"node address {text!r} is not an IP address",
                fix="write it like 192.0.2.10, or 192.0.2.10,2001:db8::10",
            ) from error
        if (
            address.is_loopback
            or address.is_multicast
            or address.is_unspecified
            or (address.version == 6 and address.is_link_local)
        ):
            raise ClusterError(
                f"node address {text} is none that pods can reach",
                fix="give the address of one of this machine's interfaces",
            )
        versions.append(address.version)
    if len(set(versions)) < len(versions):
        raise ClusterError("a node has one address of each family", fix="give one of IPv4 and one of IPv6 at most")
