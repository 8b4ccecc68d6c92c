"""What every controller gets when it is made: informers, its own client, clock, randomness, configuration.

Made once by ``controllers.manager``; tests make it over a fake API.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sampan.api.clock import Clock, Random
from sampan.client.client import Client
from sampan.client.events import EventRecorder
from sampan.client.informer import InformerFactory
from sampan.records import dataclass

#: Controllers that run only where somebody asks for them, as upstream.
OFF_BY_DEFAULT = frozenset({"bootstrap-signer-controller", "token-cleaner-controller"})


@dataclass(frozen=True, slots=True)
class ControllersConfig:
    """Options of the controllers; defaults as kube-controller-manager's."""

    #: one, or one of each family, separated by a comma
    cluster_cidr: str = "10.244.0.0/16"
    node_cidr_mask_size: int = 24
    node_cidr_mask_size_ipv6: int = 64
    #: PEM that pods trust, published as ConfigMap ``kube-root-ca.crt``; "" publishes nothing.
    root_ca_pem: str = ""
    #: The CA that signs CertificateSigningRequests, and its key (``--cluster-signing-cert-file``, ``-key-file``): PEM
    #: files, read at each use; None signs nothing.
    signing_certificate: Path | None = None
    signing_key: Path | None = None
    #: what a certificate lives when its request does not ask for less (``--cluster-signing-duration``)
    signing_seconds: float = 365 * 24 * 3600.0
    node_monitor_grace_seconds: float = 50.0
    node_startup_grace_seconds: float = 60.0
    #: Nodes whose pods are evicted, a second: of a zone that is well or has no node that is, and of one ill in part.
    node_eviction_rate: float = 0.1
    secondary_node_eviction_rate: float = 0.01
    #: A zone of no more nodes that is ill in part is not evicted.
    large_cluster_size_threshold: int = 50
    #: The part of a zone's nodes that makes it ill in part.
    unhealthy_zone_threshold: float = 0.55
    terminated_pod_threshold: int = 12500
    #: How long a node must be missing before its pods are deleted.
    orphaned_pod_quarantine_seconds: float = 40.0
    #: how long the token of a Secret is not used before it is marked invalid, and then until it goes
    #: (``--legacy-service-account-token-clean-up-period``)
    legacy_token_clean_up_seconds: float = 365 * 24 * 3600.0
    max_endpoints_per_slice: int = 100
    #: addresses of a subset of hand-made Endpoints that are mirrored
    mirroring_max_endpoints_per_subset: int = 1000
    #: What empties volumes of the policy Recycle: an image with a shell, ``find`` and ``ls``.
    recycler_image: str = "registry.k8s.io/build-image/debian-base:bookworm-v1.0.4"
    #: Of HorizontalPodAutoscalers (``--horizontal-pod-autoscaler-sync-period``, ``-downscale-stabilization``,
    #: ``-tolerance``, ``-cpu-initialization-period``, ``-initial-readiness-delay``).
    autoscaler_sync_seconds: float = 15.0
    autoscaler_downscale_stabilization_seconds: float = 300.0
    autoscaler_tolerance: float = 0.1
    autoscaler_cpu_initialization_seconds: float = 300.0
    autoscaler_initial_readiness_seconds: float = 30.0
    #: Names of controllers to leave out (``garbage-collector-controller`` ...).
    disabled: frozenset[str] = OFF_BY_DEFAULT


class Runnable(Protocol):
    """A controller: works until cancelled."""

    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Context:
    informers: InformerFactory
    #: A client with the identity ``system:serviceaccount:kube-system:<name>``.
    client_for: Callable[[str], Client]
    clock: Clock
    random: Random
    config: ControllersConfig

    def recorder(self, client: Client, component: str) -> EventRecorder:
        return EventRecorder(client, component, "", self.clock)
