"""The objects that decide who reaches whom, as one value: of a cluster, of a dump, of manifests. Pure."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Mapping
from dataclasses import field

from sampan.api.reading import part, parts, text, text_map
from sampan.api.types import Obj
from sampan.network.policy.model import Direction, PodFacts, PodKey, Policy
from sampan.network.policy.reading import Unreadable, read_pod, read_policy
from sampan.network.proxy.model import SERVICE_NAME_LABEL
from sampan.records import dataclass

log = logging.getLogger(__name__)

POLICY_KINDS = ("NetworkPolicy", "ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy")


@dataclass(frozen=True, slots=True)
class World:
    """``nodes``: addresses by node. ``waiting``: pods that have no address (yet), or use their node's."""

    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pods: Mapping[PodKey, PodFacts] = field(default_factory=dict)
    waiting: Mapping[PodKey, str] = field(default_factory=dict)
    nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    policies: tuple[Policy, ...] = ()
    services: Mapping[PodKey, Obj] = field(default_factory=dict)
    slices: Mapping[PodKey, list[Obj]] = field(default_factory=dict)
    by_address: Mapping[str, PodFacts] = field(default_factory=dict)
    nodes_by_address: Mapping[str, str] = field(default_factory=dict)
    #: what ``judging`` found of it so far
    selecting: dict[tuple[PodKey, Direction], list[Policy]] = field(default_factory=dict, repr=False, compare=False)

    def node_of(self, address: str) -> str:
        """The node whose own address it is; "": none's."""
        return self.nodes_by_address.get(address, "")


def read(objects: Iterable[Obj]) -> World:
    """Of objects of any kinds; those that mean nothing here are left out, and so is what is not understood."""
    namespaces: dict[str, Mapping[str, str]] = {}
    pods: dict[PodKey, PodFacts] = {}
    waiting: dict[PodKey, str] = {}
    nodes: dict[str, tuple[str, ...]] = {}
    policies: list[Policy] = []
    services: dict[PodKey, Obj] = {}
    slices: dict[PodKey, list[Obj]] = {}
    for obj in objects:
        meta, kind = part(obj, "metadata"), obj.get("kind")
        key = PodKey(text(meta, "namespace"), text(meta, "name"))
        if kind == "Namespace":
            namespaces[key.name] = text_map(meta, "labels")
        elif kind == "Pod":
            facts = read_pod(obj)
            if facts is not None:
                pods[key] = facts
            else:
                waiting[key] = "uses its node's network" if part(obj, "spec").get("hostNetwork") else "has no address"
        elif kind == "Node":
            listed = parts(part(obj, "status"), "addresses")
            nodes[key.name] = tuple(text(each, "address") for each in listed if is_address(text(each, "address")))
        elif kind == "Service":
            services[key] = obj
        elif kind == "EndpointSlice":
            owner = text_map(meta, "labels").get(SERVICE_NAME_LABEL, "")
            slices.setdefault(PodKey(key.namespace, owner), []).append(obj)
        elif kind in POLICY_KINDS:
            try:
                policies.append(read_policy(obj))
            except (KeyError, TypeError, Unreadable) as error:
                log.warning("%s %s is not understood: %s", kind, key, error)
    return World(
        namespaces,
        pods,
        waiting,
        nodes,
        tuple(sorted(policies, key=lambda policy: policy.key)),
        services,
        slices,
        {address: facts for facts in pods.values() for address in facts.addresses},
        {address: name for name, addresses in nodes.items() for address in addresses},
    )


def is_address(words: str) -> bool:
    try:
        ipaddress.ip_address(words)
    except ValueError:
        return False
    return True
