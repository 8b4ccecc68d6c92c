"""Keeps all controllers running on one set of informers: the part that kube-controller-manager plays.

Each is a component of its own: one that fails is made anew, alone, and what it had registered with the informers goes.
Called by ``sampan.cluster`` and ``sampan.testing``. To add a controller, write its package and name it in
``CONTROLLERS``.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Protocol

from sampan.api.clock import Clock, Random
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.controllers.attachdetach.controller import AttachDetachController
from sampan.controllers.bootstrap.cleaner import TokenCleaner
from sampan.controllers.bootstrap.signer import BootstrapSigner
from sampan.controllers.certificates.approving import CertificateApprover
from sampan.controllers.certificates.cleaning import RequestCleaner
from sampan.controllers.certificates.nodes import NodeCertificateApprover
from sampan.controllers.certificates.signing import CertificateSigner
from sampan.controllers.certificates.trustbundles import TrustBundlePublisher
from sampan.controllers.context import Context, ControllersConfig, Runnable
from sampan.controllers.cronjob.controller import CronJobController
from sampan.controllers.daemonset.controller import DaemonSetController
from sampan.controllers.deployment.controller import DeploymentController
from sampan.controllers.disruption.controller import DisruptionController
from sampan.controllers.endpoints.legacy import EndpointsController
from sampan.controllers.endpoints.mirroring import EndpointSliceMirroringController
from sampan.controllers.endpoints.service_slices import EndpointSliceController
from sampan.controllers.ephemeralvolume.controller import EphemeralVolumeController
from sampan.controllers.garbagecollector.controller import GarbageCollector
from sampan.controllers.garbagecollector.pods import PodGarbageCollector
from sampan.controllers.horizontalpodautoscaling.controller import HorizontalPodAutoscalerController
from sampan.controllers.job.controller import JobController
from sampan.controllers.legacytokens.controller import LegacyTokenCleaner
from sampan.controllers.localpath.controller import LocalPathProvisioner
from sampan.controllers.namespace.deletion import NamespaceDeletionController
from sampan.controllers.namespace.rootca import RootCaPublisher
from sampan.controllers.namespace.serviceaccounts import ServiceAccountController
from sampan.controllers.node.eviction import TaintEvictionController
from sampan.controllers.node.ipam import NodeIpamController
from sampan.controllers.node.lifecycle import NodeLifecycleController
from sampan.controllers.node.ttl import TtlController
from sampan.controllers.persistentvolume.controller import PersistentVolumeController
from sampan.controllers.replicaset.adapters import REPLICA_SET, REPLICATION_CONTROLLER
from sampan.controllers.replicaset.controller import ReplicaSetController
from sampan.controllers.resourceclaim.controller import ResourceClaimController
from sampan.controllers.resourcequota.controller import ResourceQuotaController
from sampan.controllers.scheduledscaling.controller import ScheduledScalerController
from sampan.controllers.servicecidr.controller import ServiceCidrController
from sampan.controllers.serviceloadbalancer.controller import ServiceLoadBalancerController
from sampan.controllers.snapshot.controller import SnapshotController
from sampan.controllers.statefulset.controller import StatefulSetController
from sampan.controllers.ttlafterfinished.controller import TtlAfterFinishedController
from sampan.controllers.validatingadmissionpolicystatus.controller import ValidatingAdmissionPolicyStatusController
from sampan.controllers.volumeexpand.controller import VolumeExpandController
from sampan.controllers.volumeprotection.attributes import AttributesClassProtectionController
from sampan.controllers.volumeprotection.controller import ClaimProtectionController, VolumeProtectionController
from sampan.keeping import Keeper
from sampan.metrics import Gauge, current

#: Name (as ``--controllers`` of kube-controller-manager has it) to constructor.
CONTROLLERS: dict[str, Callable[[Context], Runnable]] = {
    "serviceaccount-controller": ServiceAccountController,
    "namespace-controller": NamespaceDeletionController,
    "resourcequota-controller": ResourceQuotaController,
    "daemonset-controller": DaemonSetController,
    "deployment-controller": DeploymentController,
    "replicaset-controller": lambda context: ReplicaSetController(context, REPLICA_SET),
    "replicationcontroller-controller": lambda context: ReplicaSetController(context, REPLICATION_CONTROLLER),
    "statefulset-controller": StatefulSetController,
    "job-controller": JobController,
    "cronjob-controller": CronJobController,
    "ttl-after-finished-controller": TtlAfterFinishedController,
    "horizontal-pod-autoscaler-controller": HorizontalPodAutoscalerController,
    "disruption-controller": DisruptionController,
    "endpointslice-controller": EndpointSliceController,
    "endpoints-controller": EndpointsController,
    "endpointslice-mirroring-controller": EndpointSliceMirroringController,
    "garbage-collector-controller": GarbageCollector,
    "pod-garbage-collector-controller": PodGarbageCollector,
    "node-lifecycle-controller": NodeLifecycleController,
    "taint-eviction-controller": TaintEvictionController,
    "node-ipam-controller": NodeIpamController,
    "ttl-controller": TtlController,
    "service-cidr-controller": ServiceCidrController,
    "service-lb-controller": ServiceLoadBalancerController,
    "bootstrap-signer-controller": BootstrapSigner,
    "token-cleaner-controller": TokenCleaner,
    "root-ca-certificate-publisher-controller": RootCaPublisher,
    "certificatesigningrequest-signing-controller": CertificateSigner,
    "certificatesigningrequest-approving-controller": CertificateApprover,
    "node-certificate-approver": NodeCertificateApprover,
    "certificatesigningrequest-cleaner-controller": RequestCleaner.of_signing_requests,
    "podcertificaterequest-cleaner-controller": RequestCleaner.of_pod_requests,
    "kube-apiserver-serving-clustertrustbundle-publisher-controller": TrustBundlePublisher,
    "legacy-serviceaccount-token-cleaner-controller": LegacyTokenCleaner,
    "persistentvolume-attach-detach-controller": AttachDetachController,
    "persistentvolume-binder-controller": PersistentVolumeController,
    "persistentvolume-expander-controller": VolumeExpandController,
    "persistentvolume-protection-controller": VolumeProtectionController,
    "persistentvolumeclaim-protection-controller": ClaimProtectionController,
    "volumeattributesclass-protection-controller": AttributesClassProtectionController,
    "ephemeral-volume-controller": EphemeralVolumeController,
    "local-path-provisioner": LocalPathProvisioner,
    "snapshot-controller": SnapshotController,
    "resourceclaim-controller": ResourceClaimController,
    "scheduled-scaler-controller": ScheduledScalerController,
    "validatingadmissionpolicy-status-controller": ValidatingAdmissionPolicyStatusController,
}

#: What metrics call the whole of them.
MANAGER = "kube-controller-manager"
_RUNNING = ("name", "manager")

#: publish the cluster's CA, and have nothing to do without one
_OF_THE_CA = (RootCaPublisher, TrustBundlePublisher)


class ClientFor(Protocol):
    def __call__(self, name: str, /) -> Client:
        """A client that acts as ``system:serviceaccount:kube-system:<name>``."""
        ...


async def run_controllers(
    client: Client,
    *,
    clock: Clock,
    random: Random,
    config: ControllersConfig | None = None,
    client_for: ClientFor | None = None,
    informers: InformerFactory | None = None,
    keeper: Keeper | None = None,
    started: asyncio.Event | None = None,
) -> None:
    """Runs every enabled controller until cancelled.

    ``keeper`` keeps them (default: one of this call's own); it is closed at the end. ``client`` reads for the
    informers; each controller writes with ``client_for(<its name>)`` (default: ``client``). ``informers`` shares a
    factory that the caller runs. ``started`` is set when all informers have synced.
    """
    config = config or ControllersConfig()
    factory = informers or InformerFactory(client, random=random)
    context = Context(factory, client_for or (lambda name: client), clock, random, config)
    async with keeper or Keeper() as kept:
        # Informers first: a controller that asks for another one while it is made finds the factory running.
        if informers is None:
            kept.keep("informers of controllers", factory.run)
        for name, build in CONTROLLERS.items():
            if name in config.disabled or (build in _OF_THE_CA and not config.root_ca_pem):
                continue
            kept.keep(name, functools.partial(_run, name, build, context))
        await asyncio.sleep(0)  # each has been made, and has asked for its informers
        await factory.synced()
        if started is not None:
            started.set()
        await tasks.forever()


async def _run(name: str, build: Callable[[Context], Runnable], context: Context) -> None:
    """One life of a controller."""
    running = current().of(
        "running_managed_controllers",
        lambda: Gauge(
            "running_managed_controllers", "Indicates where instances of a controller are currently running", _RUNNING
        ),
    )
    running.set(1, name, MANAGER)
    try:
        await build(context).run()
    finally:
        running.set(0, name, MANAGER)
